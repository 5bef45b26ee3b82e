"""pytest plugin: every test is a scope of leaktrace.

    sudo leaktrace check -f junit:leaks.xml -- python3 -m pytest -p pytest_leaktrace

A scope is marked by failing to open a file below /.leaktrace, which leaktrace sees; without it
the plugin costs two failing opens a test and does nothing else.

- The session is a scope without a name around all tests: what is given back only after it, by
  the interpreter on its way out, was not given back by the test.
- What a fixture of a wider scope than one test opens is meant to outlive the test in which it is
  first asked for. It is the fixture's, and judged only by what it leaves in the system.
"""

import gc
import hashlib
import os

import pytest

_PREFIX = b"/.leaktrace/"
# leaktrace reads 512 bytes, the verb and its slash included.
_LONGEST = 480


def _mark(verb, name=""):
    name = name.encode("utf-8", "backslashreplace").replace(b"\0", b"\\0")
    if len(name) > _LONGEST:
        digest = hashlib.sha256(name).hexdigest()[:12].encode()
        name = name[: _LONGEST - len(digest) - 2] + b".." + digest
    try:
        os.close(os.open(_PREFIX + verb.encode() + b"/" + name, os.O_RDONLY))
    except OSError:
        pass


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    _mark("keep")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    # What only a cycle of references keeps open is garbage, not a leak.
    gc.collect()
    _mark("end")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    _mark("begin", item.nodeid)
    yield
    _mark("end", item.nodeid)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    if fixturedef.scope == "function":
        yield
        return
    name = _fixture_name(fixturedef, request)
    _mark("keep", name)
    yield
    _mark("end", name)


def _fixture_name(fixturedef, request):
    code = getattr(fixturedef.func, "__code__", None)
    name = "%s (%s fixture)" % (fixturedef.argname, fixturedef.scope)
    if code is None:
        return name
    file = os.path.relpath(code.co_filename, str(request.config.rootdir))
    return "%s::%s" % (file, name)
