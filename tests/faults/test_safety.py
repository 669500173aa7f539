"""What may be broken: each limit refuses in one sentence that names it, and what can't be told refuses as well."""

from datetime import UTC, datetime

import msgspec
import pytest

from chaosreprise.errors import NotAllowed
from chaosreprise.faults.safety import Facts, Intent, check, check_plan
from chaosreprise.platform.file import Platform, PlatformFile

KIND = "agents.take_away"
SATURDAY = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
AGENTS = {f"agents/a{n}": True for n in range(1, 7)}
SESSIONS = {f"sessions/s{n}": True for n in range(1, 11)}
TABLES = {
    "version": 1,
    "kind": "streamspace",
    "name": "staging",
    "identity": {"host": "here", "stack": "lab-1"},
    "allow": {"faults": [KIND, "sessions.crash", "database.crash"], "count": 3, "at_once": 4, "share": 0.5},
}


def platform(tmp_path, **changes):
    tables = {**TABLES, **{name: {**TABLES.get(name, {}), **change} for name, change in changes.items()}}
    return Platform("staging.toml", tmp_path, msgspec.convert(tables, PlatformFile))


def facts(**changes):
    known = {
        "now": SATURDAY,
        "identity": {"host": "here", "stack": "lab-1"},
        "whole": AGENTS | SESSIONS | {"database": True},
        "foreign": dict.fromkeys([*AGENTS, *SESSIONS, "database"], 0),
    }
    return Facts(**(known | changes))


def take_away(*names, seconds=60.0):
    return [Intent(KIND, f"agents/{name}", seconds) for name in names or ["a2"]]


def test_what_keeps_to_every_limit_is_allowed(tmp_path):
    check(platform(tmp_path), take_away(), facts())
    check(platform(tmp_path), take_away("a1", "a2", "a3"), facts())
    check(platform(tmp_path), take_away(), facts(broken=["database", "sessions/s1", "sessions/s2"]))
    check(platform(tmp_path, allow={"share": 0.1}), [Intent("database.crash", "database", 20)], facts())


REFUSED = [
    ({}, {}, [Intent("agents.pause", "agents/a2", 60)], "allow.faults = ['agents.take_away', 'sessions.crash', "
     "'database.crash']: agents.pause is not among them: add it if this platform may suffer that"),
    ({"identity": {"host": None, "stack": None}}, {}, take_away(), "[identity] states nothing: state `host` or `stack`, so "
     "that only this platform is broken"),
    ({}, {"identity": {"host": "here", "stack": "lab-2"}}, take_away(), 'identity.stack = "lab-1", but this is "lab-2": '
     "another platform than the file was written for"),
    ({"identity": {"cluster_uid": "4f-11"}}, {}, take_away(), 'identity.cluster_uid = "4f-11" can\'t be compared here (known '
     "are: host here, stack lab-1): state what can, or leave it out"),
    ({"identity": {"production": True}}, {"permission": "yes"}, take_away(), "identity.production = true: nothing is broken "
     "there unless allow.production names a permission"),
    ({"identity": {"production": True}, "allow": {"production": "game-day"}}, {}, take_away(), "identity.production = true: it "
     'takes the permission "game-day", and REPRISE_PRODUCTION is not set: set it if you have that permission'),
    ({"identity": {"production": True}, "allow": {"production": "game-day"}}, {"permission": "gameday"}, take_away(),
     'identity.production = true: it takes the permission "game-day", and REPRISE_PRODUCTION is "gameday": set it if you have '
     "that permission"),
    ({"allow": {"windows": ["Mon-Fri 09:00-17:00 UTC"]}}, {}, take_away(), "allow.windows = ['Mon-Fri 09:00-17:00 UTC']: "
     "agents.take_away would last from Sat 14:30:00 to Sat 14:31:00 UTC, with its undo: the next window opens on Mon 23 Nov at "
     "09:00 UTC"),
    ({"allow": {"windows": ["Sat 14:00-14:31 UTC"]}}, {}, take_away(seconds=61), "allow.windows = ['Sat 14:00-14:31 UTC']: "
     "agents.take_away would last from Sat 14:30:00 to Sat 14:31:01 UTC, with its undo: the next window opens on Sat 28 Nov at "
     "14:00 UTC"),
    ({"allow": {"at_once": 1}}, {"broken": ["sessions/s1"]}, take_away(), "allow.at_once = 1: 2 faults would be on at the same "
     "time (sessions/s1 broken already)"),
    ({"allow": {"at_once": 1}}, {}, take_away("a1", "a2"), "allow.at_once = 1: 2 faults would be on at the same time"),
    ({"allow": {"count": 1}}, {}, take_away("a1", "a2"), "allow.count = 1: 2 of 6 agents would be broken by this run"),
    ({"allow": {"count": 1}}, {"broken": ["agents/a1"]}, take_away(), "allow.count = 1: 2 of 6 agents would be broken by this run"),
    ({"allow": {"share": 0.3}}, {}, take_away("a1", "a2"), "allow.share = 0.3: 2 of 6 agents would be broken"),
    ({"allow": {"share": 0.3}}, {"whole": AGENTS | {"agents/a6": False}}, take_away(), "allow.share = 0.3: 2 of 6 agents would "
     "be broken (agents/a6 is not whole now)"),
    ({"allow": {"share": 0.1}}, {}, [Intent("sessions.crash", f"sessions/s{n}", 20) for n in (1, 2)], "allow.share = 0.1: 2 of "
     "10 sessions would be broken"),
    ({}, {"whole": {}}, take_away(), "agents/a2 is not there: what share of agents is broken can't be told"),
    ({}, {"foreign": {"agents/a2": 3}}, take_away(), "allow.foreign_sessions = 0: agents/a2 has 3 sessions of somebody "
     "else: wait until they have ended"),
    ({"allow": {"foreign_sessions": 2}}, {"foreign": {"agents/a2": 3}}, take_away(), "allow.foreign_sessions = 2: agents/a2 has 3 "
     "sessions of somebody else: wait until they have ended"),
    ({"allow": {"foreign_sessions": 9}}, {"foreign": {}}, take_away(), "allow.foreign_sessions = 9: other people's sessions on "
     "agents/a2 can't be counted: nobody counted them"),
    ({"allow": {"foreign_sessions": 9}}, {"foreign": {"agents/a2": "no database"}}, take_away(), "allow.foreign_sessions = 9: "
     "other people's sessions on agents/a2 can't be counted: no database"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "known", "intents", "says"), REFUSED)
def test_what_breaks_a_limit_is_refused_in_one_sentence(tmp_path, changes, known, intents, says):
    with pytest.raises(NotAllowed) as refused:
        check(platform(tmp_path, **changes), intents, facts(**known))
    assert str(refused.value) == f"staging.toml: {says}"


def test_a_named_permission_opens_production_and_a_window_the_time_within_it(tmp_path):
    opened = platform(tmp_path, identity={"production": True}, allow={"production": "game-day"})
    check(opened, take_away(), facts(permission="game-day"))
    check(platform(tmp_path, allow={"windows": ["Sat 14:00-14:31 UTC"]}), take_away(seconds=60), facts())


def test_a_plan_is_checked_moment_by_moment_and_its_identity_also_when_it_breaks_nothing(tmp_path):
    one_at_once = platform(tmp_path, allow={"at_once": 1})
    check_plan(one_at_once, [take_away("a1"), take_away("a2")], facts())
    with pytest.raises(NotAllowed, match="at_once = 1: 2 faults"):
        check_plan(one_at_once, [take_away("a1", "a2")], facts())
    with pytest.raises(NotAllowed, match="another platform than the file was written for"):
        check_plan(one_at_once, [], facts(identity={"host": "there", "stack": "lab-1"}))


def test_sessions_that_are_not_made_yet_are_left_to_the_warden_and_no_other_limit_is(tmp_path):
    unmade = [Intent("sessions.crash", "sessions/?", 20)] * 3
    check(platform(tmp_path), unmade, facts())
    with pytest.raises(NotAllowed, match="at_once = 2: 3 faults"):
        check(platform(tmp_path, allow={"at_once": 2}), unmade, facts())
    with pytest.raises(NotAllowed, match=r"allow\.windows"):
        check(platform(tmp_path, allow={"windows": ["Sun 14:00-15:00 UTC"]}), unmade, facts())


LINKS = {f"links/agents/a{n}": True for n in range(1, 7)} | {"links/database": True}


def linked(tmp_path, *ons, share=0.5, count=3, **changes):
    file = platform(tmp_path, allow={"faults": ["links.freeze", KIND], "share": share, "count": count})
    whole = AGENTS | SESSIONS | LINKS | {"database": True}
    check(
        file,
        [Intent("links.freeze", on, 10) for on in ons],
        facts(whole=whole, foreign=dict.fromkeys(LINKS, 0), **changes),
    )


def test_an_agent_whose_link_is_broken_counts_as_a_broken_agent(tmp_path):
    linked(tmp_path, "links/agents/a1", "links/agents/a2", "links/database")
    with pytest.raises(NotAllowed, match=r"allow\.share = 0\.34: 3 of 6 agents would be broken"):
        linked(tmp_path, "links/agents/a1", "links/agents/a2", "links/agents/a3", share=0.34)
    with pytest.raises(NotAllowed, match=r"allow\.share = 0\.34: 3 of 6 agents would be broken"):
        linked(tmp_path, "links/agents/a1", share=0.34, broken=["agents/a2", "links/agents/a3"])
    linked(tmp_path, "links/agents/a1", share=0.34, broken=["agents/a1", "links/agents/a3"])
    with pytest.raises(NotAllowed, match=r"allow\.count = 1: 2 of 6 agents would be broken"):
        linked(tmp_path, "links/agents/a1", share=1.0, count=1, broken=["agents/a2"])


def test_breaking_an_agent_counts_those_whose_links_are_broken(tmp_path):
    file = platform(tmp_path, allow={"share": 0.34})
    with pytest.raises(NotAllowed, match=r"3 of 6 agents would be broken \(agents/a2, agents/a3 is not whole now\)"):
        check(file, take_away("a1"), facts(whole=AGENTS | LINKS, broken=["links/agents/a2", "links/agents/a3"]))


def test_a_link_that_is_not_there_is_not_broken(tmp_path):
    with pytest.raises(NotAllowed, match="links/clients is not there"):
        linked(tmp_path, "links/clients")
