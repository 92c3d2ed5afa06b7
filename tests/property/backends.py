"""What servers make of a path: each by its own code, as such servers are written, and nothing of the product.

A text in, a text out. A slash that is part of a segment is `INNER` in what comes out.
"""

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

INNER = "\x01"

Backend = Callable[[str], str]


def as_it_is(path: str) -> str:
    """GRPC, and proxies that pass on what they get."""
    return path


def wsgi(path: str) -> str:
    """PATH_INFO is decoded, and that is all."""
    return unquote(path)


def wsgi_behind_iis(path: str) -> str:
    """IIS that allows double escaping decodes once, and what is behind it once more."""
    return unquote(unquote(path).replace("\\", "/"))


def files(path: str) -> str:
    """A server of files: decodes, and lets the file system find out what that means."""
    decoded = unquote(path)
    return _slash_as_before(decoded, posixpath.normpath(posixpath.join("/", decoded.lstrip("/"))))


def nginx(path: str) -> str:
    """One pass: decoded, slashes merged, dots resolved."""
    return _dots(re.sub("/+", "/", unquote(path)))


def nginx_without_merging(path: str) -> str:
    """With `merge_slashes off`."""
    return _dots(unquote(path))


def apache_no_decode(path: str) -> str:
    """With `AllowEncodedSlashes NoDecode`: slashes stay escaped."""
    return _dots(re.sub("/+", "/", _decoded_but(path, "2f")))


def kestrel(path: str) -> str:
    """ASP.NET Core: all but the escapes of slashes is decoded, then dots are resolved."""
    return _dots(_decoded_but(path, "2f", "5c"))


def tomcat(path: str) -> str:
    """Parameters go first, then it is decoded, and normalised."""
    return _dots(re.sub("/+", "/", unquote(re.sub(";[^/]*", "", path)).replace("\\", "/")))


def spring(path: str) -> str:
    """Decodes, then cuts parameters, then merges slashes; nothing is resolved."""
    return re.sub("/+", "/", re.sub(";[^/]*", "", unquote(path)))


def shiro(path: str) -> str:
    """Decodes, and everything behind the first `;` goes."""
    return _dots(unquote(path).partition(";")[0].replace("\\", "/"))


def jetty(path: str) -> str:
    """Resolved as it is written, then decoded."""
    return unquote(_dots(re.sub(";[^/]*", "", path)))


def python_urlparse(path: str) -> str:
    """Takes parameters off the last segment, and a host off the beginning."""
    path = urlsplit(path).path or "/"
    head, slash, last = path.rpartition("/")
    return unquote(head + slash + last.partition(";")[0])


def express(path: str) -> str:
    """Segments are split first, and decoded one by one."""
    return "/".join([unquote(segment).replace("/", INNER) for segment in path.split("/")])


def rails(path: str) -> str:
    """The same after slashes were merged."""
    return express(re.sub("/+", "/", path))


def go_serve_mux(path: str) -> str:
    """URL.Path is decoded, and cleaned."""
    return _slash_as_before(unquote(path), posixpath.normpath(re.sub("^/+", "/", unquote(path))))


def node_url(path: str) -> str:
    """`new URL(path, base).pathname`: backslashes are slashes, escaped dots are dots, `//host` is a host."""
    path = path.replace("\\", "/")
    if path.startswith("//"):
        path = "/" + path.lstrip("/").partition("/")[2]
    return _dots(re.sub("(?<=/)(?:[.]|%2e){1,2}(?=/|$)", lambda dots: _plain(dots[0]), path, flags=re.IGNORECASE))


def envoy(path: str) -> str:
    """`normalize_path` and `merge_slashes`: letters, digits and dots are decoded, the rest is passed on as it was."""
    path = re.sub("%([0-9a-fA-F]{2})", _unreserved, path).replace("\\", "/")
    return _dots(re.sub("/+", "/", path))


def passes_the_decoded_on(path: str) -> str:
    """A proxy that writes the decoded path into the next request, where `?` begins a query."""
    return unquote(path).partition("?")[0]


BACKENDS: tuple[Backend, ...] = (
    as_it_is,
    wsgi,
    wsgi_behind_iis,
    files,
    nginx,
    nginx_without_merging,
    apache_no_decode,
    kestrel,
    tomcat,
    spring,
    shiro,
    jetty,
    python_urlparse,
    express,
    rails,
    go_serve_mux,
    node_url,
    envoy,
    passes_the_decoded_on,
)


PROXIES: tuple[Backend, ...] = (nginx, apache_no_decode, envoy, passes_the_decoded_on)
"""What a path may go through before one of them gets it."""


def _dots(path: str) -> str:
    """RFC 3986 section 5.2.4, as it is written there."""
    output = ""
    while path:
        if path.startswith("/./") or path == "/.":
            path = path[2:] or "/"
        elif path.startswith("/../") or path == "/..":
            path = path[3:] or "/"
            output = output.rpartition("/")[0]
        else:
            end = path.find("/", 1)
            segment = path if end < 0 else path[:end]
            output, path = output + segment, path[len(segment) :]
    return output


def _plain(dots: str) -> str:
    return re.sub("%2e", ".", dots, flags=re.IGNORECASE)


def _decoded_but(path: str, *kept: str) -> str:
    return unquote(re.sub(f"%(?={'|'.join(kept)})", "%25", path, flags=re.IGNORECASE))


def _unreserved(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if re.fullmatch("[A-Za-z0-9._~-]", character) else match[0]


def _slash_as_before(path: str, normal: str) -> str:
    return normal + "/" if path.endswith("/") and normal != "/" else normal
