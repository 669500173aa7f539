"""The lab's tables, as the contract names them, and the rows that a new lab begins with.

Times are `timestamp` without zone, in UTC, written by the control plane's clock. Beyond the contract: `position` (the
order of commands), `command_seq` (how many commands a session has had), `control_plane` and `link` (who has the agent, by
which of its connections), and `endpoints`, which only the control plane may read, since it holds the tokens of the
sessions' interpreters, and which life of theirs is known.
"""
# ruff: noqa: S608 - what is put together here are constants and names of this package, never input

from chaosreprise.lab.settings import TEMPLATE

OWNER = "streamspace"
READER = "reprise_reader"
ACTIVE = "state not in ('terminated', 'failed')"
OPEN = "status not in ('completed', 'failed')"
NOW = "(now() at time zone 'utc')"

TABLES = f"""
create table users (
  id varchar primary key, username varchar not null unique, email varchar unique, full_name varchar, password_hash varchar,
  role varchar not null default 'user', active boolean not null default true,
  created_at timestamp not null default {NOW}, updated_at timestamp not null default {NOW});

create table templates (
  id integer primary key generated always as identity, repository_id integer not null default 1, name varchar not null unique,
  display_name varchar, description varchar, category varchar, app_type varchar, icon_url varchar, manifest jsonb not null,
  tags text[] not null default '{{}}', created_at timestamp not null default {NOW});

create table agents (
  id uuid primary key default gen_random_uuid(), agent_id varchar not null unique, platform varchar, region varchar,
  status varchar not null default 'offline' check (status in ('online', 'offline', 'draining')), capacity jsonb,
  last_heartbeat timestamp, cluster_id varchar, cluster_name varchar, metadata jsonb, control_plane varchar, link varchar,
  approval_status varchar not null default 'pending', approved_at timestamp, approved_by varchar,
  api_key_hash varchar, api_key_last_used_at timestamp,
  created_at timestamp not null default {NOW}, updated_at timestamp not null default {NOW});

create table sessions (
  id varchar primary key, user_id varchar not null references users (id), template_name varchar, state varchar not null
  check (state in ('pending', 'starting', 'running', 'hibernating', 'hibernated', 'waking', 'terminating', 'terminated', 'failed')),
  agent_id varchar references agents (agent_id), cluster_id varchar, tags text[] not null default '{{}}', platform varchar,
  namespace varchar, pod_name varchar, memory varchar, cpu varchar, persistent_home boolean not null default false,
  idle_timeout varchar, max_session_duration varchar, url varchar, last_activity timestamp,
  termination_reason varchar, terminated_at timestamp, command_seq integer not null default 0,
  created_at timestamp not null, updated_at timestamp not null);

create index on sessions (user_id);

create index on sessions (agent_id);

create table agent_commands (
  id uuid primary key default gen_random_uuid(), command_id varchar not null unique,
  agent_id varchar not null references agents (agent_id) on delete cascade, session_id varchar, action varchar not null,
  payload jsonb not null, status varchar not null default 'pending'
  check (status in ('pending', 'sent', 'ack', 'completed', 'failed')), error_message varchar,
  created_at timestamp not null, sent_at timestamp, acknowledged_at timestamp, completed_at timestamp,
  updated_at timestamp not null, position bigint generated always as identity);

create index on agent_commands (agent_id, position) where {OPEN};

create index on agent_commands (session_id);

create table session_steps (id text primary key, session_id text, command text, status text);

create table endpoints (session_id varchar primary key references sessions (id) on delete cascade, host varchar not null,
  port integer not null, token varchar not null, life varchar not null);
"""

RIGHTS = f"""
grant select on templates, agents, sessions, agent_commands, session_steps to {READER};

grant select (id, username, email, full_name, role, active, created_at, updated_at) on users to {READER};
"""


def new_database(passwords: dict[str, str], users: list[str], admin_hash: str, agent_key_hashes: dict[str, str]) -> str:
    """Statements for the superuser, each ended by an empty line. The values are ours: names, hex digits, hashes."""
    roles = [f"create role {role} login password '{password}';" for role, password in passwords.items()]
    people = [_user("admin", "admin", admin_hash), *(_user(user, "user", "") for user in users)]
    agents = [
        "insert into agents (agent_id, platform, approval_status, approved_at, approved_by, api_key_hash) "
        f"values ('{agent}', 'docker', 'approved', {NOW}, 'admin', '{key_hash}');"
        for agent, key_hash in agent_key_hashes.items()
    ]
    template = (
        "insert into templates (name, display_name, description, category, manifest) values "
        f"""('{TEMPLATE}', 'Python', 'A Python interpreter', 'Development', '{{"spec": {{"baseImage": "python", "ports": []}}}}');"""
    )
    before = [*roles, f"alter role {READER} set default_transaction_read_only = on;"]
    before += [f"grant pg_read_all_stats to {READER};"]  # how long statements of others have been running
    before += [f"grant create, usage on schema public to {OWNER};", f"set role {OWNER};"]
    return "\n\n".join([*before, TABLES.strip(), template, *people, *agents, RIGHTS.strip()]) + "\n\n"


def _user(name: str, role: str, password_hash: str) -> str:
    return (
        "insert into users (id, username, email, full_name, password_hash, role) "
        f"values ('{name}', '{name}', '{name}@lab.invalid', '{name}', '{password_hash}', '{role}');"
    )
