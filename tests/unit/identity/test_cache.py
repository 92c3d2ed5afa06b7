"""The bounded cache."""

from concurrent.futures import ThreadPoolExecutor

from authz_server.identity.cache import BoundedCache, size_of


def test_what_was_put_is_found() -> None:
    """A value is found under its key alone."""
    cache = BoundedCache[str, int](10, 1000)
    cache.put("a", 1, 10)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_the_oldest_goes_out_when_there_are_too_many() -> None:
    """Entries are bounded in number, in the order in which they were put."""
    cache = BoundedCache[int, int](3, 1000)
    for number in range(5):
        cache.put(number, number, 10)
    assert [cache.get(number) for number in range(5)] == [None, None, 2, 3, 4]
    assert (len(cache), cache.bytes) == (3, 30)


def test_the_oldest_go_out_when_they_take_too_much() -> None:
    """Entries are bounded in bytes: a large one takes the place of several."""
    cache = BoundedCache[int, int](100, 100)
    for number in range(5):
        cache.put(number, number, 20)
    cache.put(5, 5, 50)
    assert [cache.get(number) for number in range(6)] == [None, None, None, 3, 4, 5]
    assert cache.bytes == 90


def test_an_entry_larger_than_the_cache_is_not_kept() -> None:
    """One large value does not empty the cache, and does not leave an outdated one behind."""
    cache = BoundedCache[str, int](100, 100)
    cache.put("a", 1, 10)
    cache.put("b", 1, 10)
    cache.put("b", 2, 101)
    assert (cache.get("a"), cache.get("b"), cache.bytes) == (1, None, 10)


def test_a_cache_of_no_entries_keeps_nothing() -> None:
    """Caching can be turned off."""
    cache = BoundedCache[str, int](0, 100)
    cache.put("a", 1, 10)
    assert (cache.get("a"), len(cache), cache.bytes) == (None, 0, 0)


def test_putting_again_replaces_and_makes_young() -> None:
    """A key has one entry, counted once."""
    cache = BoundedCache[str, int](2, 100)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value, 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.bytes) == (3, None, 4, 20)


def test_threads_can_share_a_cache() -> None:
    """The bounds and the sum hold whoever puts, and nobody reads another key's value."""
    cache = BoundedCache[int, int](50, 10_000)

    def work(seed: int) -> bool:
        for step in range(2000):
            key = (seed * 7919 + step) % 100
            cache.put(key, key, 10)
            if cache.get(key) not in (None, key):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert len(cache) == 50
    assert cache.bytes == 500


def test_the_size_of_a_value_grows_with_what_is_in_it() -> None:
    """Sizes count nested values, names included."""
    flat = size_of({"a": "b"})
    assert size_of({"a": "b" * 1000}) > flat + 900
    assert size_of({"a" * 1000: "b"}) > flat + 900
    assert size_of({"a": [{"c": "b" * 1000}]}) > flat + 900


def test_hits_and_misses_are_counted() -> None:
    """For metrics."""
    cache = BoundedCache[str, int](max_entries=2, max_bytes=100)
    cache.put("a", 1, 1)
    assert [cache.get(key) for key in ("a", "a", "b")] == [1, 1, None]
    assert (cache.hits, cache.misses) == (2, 1)
