import tempfile


def test_leak():
    tempfile.mkdtemp(prefix="leak-")
