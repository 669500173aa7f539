"""Rows as the contract's JSON: a session S, an agent A, a template T. Absent values are left out where the contract allows it."""

from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from chaosreprise.lab.database import Row

STREAMS = "websocket"  # through the control plane, at `streamingPath`


def session(row: Row) -> dict[str, Any]:
    seen = {"lastActivity": instant(row["last_activity"])} if row["last_activity"] else {}
    return {
        "name": row["id"],
        "namespace": row["namespace"],
        "user": row["user_id"],
        "template": row["template_name"],
        "state": row["state"],
        "persistentHome": row["persistent_home"],
        "idleTimeout": row["idle_timeout"],
        "maxSessionDuration": row["max_session_duration"],
        "platform": row["platform"],
        "activeConnections": 0,
        "createdAt": instant(row["created_at"]),
        "streamingProtocol": STREAMS,
        "streamingPort": 0,
        "streamingPath": f"/api/v1/sessions/{row['id']}/stream",
        "status": {
            "phase": row["state"].capitalize(),
            "url": row["url"] or "",
            "podName": row["pod_name"] or "",
            **seen,
        },
        "resources": {"memory": row["memory"], "cpu": row["cpu"]},
    }


def created(row: Row, agent: str, command: str) -> dict[str, Any]:
    """The answer to a create: the one place where HTTP names the agent and the command."""
    message = f"Session provisioning in progress (agent: {agent}, command: {command})"
    kept = (
        "name",
        "namespace",
        "user",
        "template",
        "state",
        "persistentHome",
        "idleTimeout",
        "maxSessionDuration",
        "resources",
    )
    whole = session(row)
    return {name: whole[name] for name in kept} | {
        "tags": row["tags"],
        "status": {"phase": "Pending", "message": message},
    }


def agent(row: Row, with_approval: bool) -> dict[str, Any]:
    """One agent asked for by itself has an empty `approvalStatus`; the list has it."""
    found = {
        "id": str(row["id"]),
        "agentId": row["agent_id"],
        "platform": row["platform"],
        "region": row["region"],
        "status": row["status"],
        "capacity": row["capacity"],
        "lastHeartbeat": instant(row["last_heartbeat"]),
        "metadata": row["metadata"],
        "approvalStatus": row["approval_status"] if with_approval else "",
        "approvedAt": instant(row["approved_at"]),
        "approvedBy": row["approved_by"],
        "createdAt": instant(row["created_at"]),
        "updatedAt": instant(row["updated_at"]),
    }
    return {name: value for name, value in found.items() if value is not None}


def template(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "repositoryId": row["repository_id"],
        "name": row["name"],
        "displayName": row["display_name"] or "",
        "description": row["description"] or "",
        "category": row["category"] or "",
        "appType": row["app_type"] or "",
        "icon": row["icon_url"] or "",
        "manifest": row["manifest"],
        "tags": row["tags"],
        "createdAt": instant(row["created_at"]),
    }


def command(row: Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "commandId": row["command_id"],
        "agentId": row["agent_id"],
        "sessionId": row["session_id"],
        "action": row["action"],
        "payload": row["payload"],
        "status": row["status"],
        "createdAt": instant(row["created_at"]),
    }


def answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return f"{at.isoformat()}Z" if at is not None else None
