"""Sizes and times of files behind paths and URLs, to notice that a file was replaced."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from srgan.training.data.stored import Digests, digest_of

REQUESTS = 16  # at the same time
# What tells a file's versions apart, the best first: a name for each kind of store.
VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


def digests_of_files(files: Sequence[str]) -> Digests:
    """Digests of the sizes and times of a few files; none where their store does not tell.

    Args:
        files: paths or fsspec URLs; each costs a request.
    """
    from fsspec.core import url_to_fs

    def info(file: str) -> dict[str, Any]:
        fs, path = url_to_fs(file, use_listings_cache=False)
        return fs.info(path)

    try:
        with ThreadPoolExecutor(REQUESTS) as requests:
            return _digests(list(requests.map(info, files)))
    except Exception:  # each store's library has its own errors; a pattern is no file
        return {}


def digests_of_folder(url: str, names: Sequence[str]) -> Digests:
    """The same for files in a folder by its URL, from one listing of it."""
    from fsspec.core import url_to_fs

    try:
        fs, root = url_to_fs(url, use_listings_cache=False)
        listed: dict[str, dict[str, Any]] = fs.find(root, detail=True)
        return _digests([listed.get(f"{root.rstrip('/')}/{name}", {}) for name in names])
    except Exception:  # each store's library has its own errors
        return {}


def _digests(found: Sequence[Mapping[str, Any]]) -> Digests:
    if not found:
        return {}
    versions = [str(next((each[key] for key in VERSIONS if key in each), "")) for each in found]
    sizes = [str(each.get("size", "")) for each in found]
    return {"sizes": digest_of(",".join(sizes)), "times": digest_of(",".join(versions))}
