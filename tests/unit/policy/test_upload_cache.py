"""What Dify has already: for a while, and not without bound."""

from __future__ import annotations

from gateway.policy.upload_cache import UploadCache, upload_name


def test_an_upload_is_known_for_its_time() -> None:
    cache = UploadCache()
    cache.keep(b"a", "up-1", fresh_until=10.0, limit=5)
    assert cache.find(b"a", now=9.9) == "up-1"
    assert cache.find(b"b", now=9.9) is None
    assert cache.find(b"a", now=10.0) is None
    assert cache.find(b"a", now=9.9) is None  # and gone


def test_the_one_that_was_not_wanted_for_longest_makes_room() -> None:
    cache = UploadCache()
    for name in (b"a", b"b", b"c"):
        cache.keep(name, name.decode(), fresh_until=10.0, limit=3)
    cache.find(b"a", now=0.0)
    cache.keep(b"d", "d", fresh_until=10.0, limit=3)
    assert [name for name in (b"a", b"b", b"c", b"d") if cache.find(name, now=0.0)] == [b"a", b"c", b"d"]


def test_a_limit_of_none_remembers_none() -> None:
    cache = UploadCache()
    cache.keep(b"a", "up-1", fresh_until=10.0, limit=0)
    assert cache.find(b"a", now=0.0) is None


def test_what_dify_may_have_lost_is_forgotten() -> None:
    cache = UploadCache()
    cache.keep(b"a", "up-1", fresh_until=10.0, limit=5)
    cache.forget(b"a")
    cache.forget(b"b")
    assert cache.find(b"a", now=0.0) is None


def test_parts_do_not_run_together() -> None:
    assert upload_name("a", "bc") == upload_name("a", "bc") != upload_name("ab", "c")
