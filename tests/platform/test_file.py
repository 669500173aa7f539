"""A platform file is read strictly; what is wrong with it is one sentence: the setting, its value, what was expected."""

import pathlib
import tomllib

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.platform import file, links
from chaosreprise.platform.values import Secret

EMBEDDED = 'version = 1\nkind = "embedded"\nname = "x"\n'
REMOTE = 'version = 1\nkind = "streamspace"\nname = "x"\n'
CONTROL = '[control]\nurl = "http://127.0.0.1:1"\nuser = "u"\npassword = { env = "P" }\ntemplate = "t"\n'
TIMING = "[timing]\nsettle = { backoff_s = 1, reconcile_s = 1, slowest_s = 1 }\n"
WITNESS = '[evidence.w]\nkind = "witness"\n'
FORWARD = '[forward.api]\nselector = "app=api"\nport = 8000\nlocal = 18000\n'
USERS = '[budget]\nusers = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EMBEDDED + '[lab]\nagents = "three"', 'lab.agents = "three": expected a whole number from 1 to 64'),
        (EMBEDDED + "[lab]\nagents = 0", "lab.agents = 0: expected a whole number from 1 to 64"),
        (EMBEDDED + "[lab]\nagnts = 3", "lab.agnts is not a setting: did you mean agents?"),
        (EMBEDDED.replace("embedded", "embeded"), 'kind = "embeded": expected one of embedded, streamspace'),
        (EMBEDDED.replace("1", "2"), "version = 2: expected 1"),
        ('kind = "embedded"', "version is missing: expected 1"),
        (EMBEDDED + "lab = 3", "lab = 3: expected a table with agents"),
        (
            EMBEDDED + '[control]\nurl = "http://x"\nuser = "u"\npassword = { env = "P" }\ntemplate = "t"',
            "[control] does not go with kind",
        ),
        (EMBEDDED + "[allow]\nshare = 0.5", "[allow] does not go with kind"),
        (EMBEDDED.replace('"x"', '"a b"'), 'name = "a b": expected a name of letters'),
        (REMOTE, "[control] is missing"),
        (REMOTE + CONTROL, "[timing] is missing"),
        (REMOTE + CONTROL + TIMING, "budget.users = []"),
        (REMOTE + CONTROL + TIMING + USERS + "[lab]\nagents = 3", "[lab] goes only with kind"),
        (REMOTE + CONTROL + TIMING + USERS + '[evidence.rows]\nkind = "sql"', "evidence.rows.dsn is missing"),
        (REMOTE + CONTROL + TIMING + USERS + FORWARD, "[kubernetes] is missing: forward.api leads to pods there"),
        (
            REMOTE
            + CONTROL
            + TIMING
            + USERS
            + FORWARD
            + '[identity]\nhost = "127.0.0.1"\n[kubernetes]\nnamespace = "n"',
            "[identity] states neither context nor cluster_uid: forward.api leads to the cluster that a kubeconfig means",
        ),
        (REMOTE + '[evidence.rows]\nkind = "sql"\nhz = 0', "evidence.rows.hz = 0: expected a rate from above 0"),
        (
            REMOTE + CONTROL + TIMING + USERS + '[components.agents]\nhow = "process"',
            'components.agents: how = "process" needs one of two: keeper',
        ),
        (
            REMOTE + CONTROL + TIMING + USERS + '[components.agents]\nhow = "none"\nadmin = { env = "P" }',
            "components.agents.admin goes only with components.database",
        ),
        (
            REMOTE + CONTROL + TIMING + USERS + '[components.agents]\nhow = "descendants"',
            'components.agents: how = "descendants" goes only with components.sessions',
        ),
        (
            REMOTE + '[components.database]\nhow = "none"\nadmin = "postgresql://u:secret@host/db"',
            "components.database.admin: expected a secret by reference",
        ),
        (REMOTE + '[control]\nurl = "localhost:80"', 'control.url = "localhost:80": expected a URL'),
        (
            REMOTE + WITNESS + 'listen = "9470"',
            'evidence.w.listen = "9470": expected an address of this machine and a port',
        ),
        (
            REMOTE + WITNESS + 'listen = "x:65536"',
            'evidence.w.listen = "x:65536": expected an address of this machine and a port',
        ),
        (REMOTE + WITNESS + 'listen = "x:1"\ntoken = "t"', "evidence.w.token: expected a secret by reference"),
        (
            REMOTE + CONTROL + TIMING + USERS + WITNESS,
            'evidence.w: kind = "witness", listen and token go together: give all three or none',
        ),
        (
            REMOTE
            + CONTROL
            + TIMING
            + USERS
            + WITNESS.replace(".w]", ".slots]")
            + 'listen = "x:1"\ntoken = { env = "P" }',
            'evidence.slots.kind = "witness" goes only with kind = "streamspace", and not as slots',
        ),
        (
            REMOTE + CONTROL + TIMING + USERS + '[evidence.homes]\nkind = "kubernetes"',
            "evidence.homes are claims of a cluster: it goes only with kind",
        ),
        (
            REMOTE + CONTROL + TIMING + USERS + '[evidence.rows]\nkind = "kubernetes"',
            'evidence.rows.kind = "kubernetes" goes only with evidence.slots and evidence.homes',
        ),
        (
            REMOTE + CONTROL + TIMING + USERS + '[evidence.workspaces]\nkind = "stdout"',
            'evidence.workspaces.kind = "stdout" goes only with evidence.workspaces of kind = "sandbox"',
        ),
        (REMOTE + '[budget]\nusers = ["a", 3]', "budget.users[1] = 3: expected a text"),
        (REMOTE + "[allow]\nshare = 2", "allow.share = 2: expected a share from above 0 to 1"),
        (
            REMOTE + CONTROL + TIMING + USERS + '[allow]\nwindows = ["daily 00:00-24:00 UTC", "Mon 9-5 UTC"]',
            'allow.windows[1] = "Mon 9-5 UTC": expected a window such as "Mon-Fri 09:00-17:00 Europe/Berlin"',
        ),
        (REMOTE + '[allow]\nfaults = ["agents"]', 'allow.faults[0] = "agents": expected a kind of fault, such as'),
        (REMOTE + "[allow]\ncount = 0", "allow.count = 0: expected a whole number from 1"),
        (REMOTE + "[allow]\nforeign = 1", "allow.foreign is not a setting: did you mean foreign_sessions?"),
        (REMOTE + '[identity]\nproduction = "no"', 'identity.production = "no": expected true or false'),
        (REMOTE + "[guard]\nerrors = 0", "guard.errors = 0: expected a share from above 0 to 1"),
        (REMOTE + '[guard]\nurl = "x"', 'guard.url = "x": expected a URL'),
        (
            REMOTE + CONTROL + TIMING + USERS + '[guard]\npromql = { url = "http://p", query = "up" }',
            "guard.promql: state one of `below` and `above`",
        ),
        (EMBEDDED + "[guard]\nerrors = 0.1", "[guard] does not go with kind"),
        ("a = ", "not TOML"),
        ("\xff", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: pathlib.Path, text: str, says: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        file.load(str(path))
    assert str(error.value).startswith(f"{path}: {says}")
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_said(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(BadInput, match="not a text in UTF-8"):
        file.load(str(path))


def test_a_file_that_is_not_there_names_the_variable(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadInput, match="set REPRISE_PLATFORM"):
        file.load(str(tmp_path / "no.toml"))


def test_a_whole_file_is_read_and_secrets_come_by_reference(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(REMOTE + CONTROL + TIMING + USERS + '[evidence.rows]\nkind = "sql"\ndsn = { file = "dsn" }\n')
    (tmp_path / "dsn").write_text("secret\n")
    platform = file.load(str(path))
    assert platform.file.control is not None
    assert platform.file.evidence["rows"].dsn is not None
    assert platform.file.evidence["rows"].dsn.read(platform.folder) == "secret"
    with pytest.raises(BadInput, match="P is not set"):
        platform.file.control.password.read(platform.folder)
    monkeypatch.setenv("P", "word")
    assert platform.file.control.password.read(platform.folder) == "word"


def test_settle_is_the_sum_that_the_design_states() -> None:
    settle = file.Settle(backoff_s=0.5, reconcile_s=0.25, slowest_s=0.1)
    assert settle.seconds(longest_queue=9) == pytest.approx(0.5 + 2 * 0.25 + 0.1 * 10)


def test_an_optional_setting_says_what_it_expects_as_any_other(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(REMOTE + '[promises]\ntakeover_s = "soon"\n')
    with pytest.raises(BadInput, match=r'promises\.takeover_s = "soon": expected seconds from 0 to 86400'):
        file.load(str(path))
    path.write_text(REMOTE + CONTROL.replace("[control]", "[control]\nsteps = 3"))
    with pytest.raises(BadInput, match=r"control\.steps = 3: expected a URL"):
        file.load(str(path))


def test_the_example_of_the_page_on_safety_is_a_platform_file(tmp_path: pathlib.Path) -> None:
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "safety.md"
    example = page.read_text().split("```toml\n")[1].split("```")[0]
    path = tmp_path / "p.toml"
    path.write_text(REMOTE + CONTROL + TIMING + USERS + example)
    read = file.load(str(path)).file
    assert read.guard.promql is not None
    assert {*read.allow.__struct_fields__} == {*tomllib.loads(example)["allow"]}, "every limit stands in it"
    assert {*read.guard.__struct_fields__} == {*tomllib.loads(example)["guard"]}


def test_links_are_read_with_where_their_secrets_stand(tmp_path):
    path = tmp_path / "p.toml"
    link = 'admin = "http://127.0.0.1:8474"\nproxy = "db"\ntoken = { file = "t" }\ntaps = "http://127.0.0.1:9"\n'
    path.write_text(f'{REMOTE}{CONTROL}{TIMING}{USERS}[links.database]\n{link}[links."agents/a1"]\n{link}')
    found = links.of(file.load(str(path)))
    assert list(found) == ["links/database", "links/agents/a1"]
    (tmp_path / "t").write_text("secret\n")
    assert found["links/database"].toxics[0].token() == "secret"
    assert found["links/database"].taps[0].token() == ""
    assert links.OfFile(str(path)) == found


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[links.db]\nadmin = 'http://x'\nproxy = 'p'", 'links."db": expected clients, database, data-plane, sessions or agents/NAME'),
        ("[links.database]\nproxy = 'p'", "links.database.admin is missing"),
        ("[links.database]\nadmin = 'here'\nproxy = 'p'", 'links.database.admin = "here": expected a URL'),
        ("[links.database]\nadmin = 'http://x:99999'\nproxy = 'p'", "links.database.admin"),
        ("[links.database]\nadmin = 'http://x'\nproxy = 'p'\ntoken = 'x'", "links.database.token: expected a secret by reference"),
    ],
)  # fmt: skip
def test_a_link_that_can_not_be_one_is_refused(table, says, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(f"{REMOTE}{CONTROL}{TIMING}{USERS}{table}")
    with pytest.raises(BadInput) as refused:
        file.load(str(path))
    assert says in str(refused.value)


def test_a_command_crosses_the_links_on_its_way():
    names = ["links/clients", "links/database", "links/sessions", "links/agents/a1", "links/agents/a2"]
    assert links.crossed(names, "wake", "a2", "s") == ["links/clients", "links/database", "links/agents/a2"]
    assert links.crossed(names, "step", None, "s") == ["links/clients", "links/database", "links/sessions"]
    assert links.crossed(names, "read", None, None) == ["links/clients", "links/database"]
    assert links.crossed(["links/database"], "stop", "a1", "s") == ["links/database"]
    assert links.crossed([], "stop", "a1", "s") == []


def test_an_administrator_is_named_so_that_others_find_him(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "lab.toml"
    for secret, found in (('{ file = "dsn" }', Secret(file=str(tmp_path / "dsn"))), ('{ env = "P" }', Secret(env="P"))):
        path.write_text(REMOTE + CONTROL + TIMING + USERS + f'[components.database]\nhow = "none"\nadmin = {secret}\n')
        platform = file.load(str(path))
        assert platform.admin == found
        assert platform.has("components.database.admin")
        assert not platform.has("links.database.taps")


def test_a_platform_without_an_administrator_has_none() -> None:
    assert file.load("embedded").admin is None
    assert not file.load("embedded").has("components.database.admin")
