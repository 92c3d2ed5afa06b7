"""Our stubs are generated from proto/, and mean what Envoy means.

envoy-data-plane is generated from Envoy's own files by another compiler with another runtime. A message of its making
that has the same JSON form in our stubs, and comes back unchanged, proves names, numbers and types of its fields.
"""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    EnvoyInternalAddress,
    HeaderMap,
    HeaderValue,
    HeaderValueOption,
    Metadata,
    Pipe,
    QueryParameter,
    SocketAddress,
    SocketAddressProtocol,
)
from envoy_data_plane.envoy.config.core.v3 import HeaderValueOptionHeaderAppendAction as AppendAction
from envoy_data_plane.envoy.service.auth.v3 import (
    AttributeContext,
    AttributeContextHttpRequest,
    AttributeContextPeer,
    AttributeContextRequest,
    AttributeContextTlsSession,
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from envoy_data_plane.envoy.type.v3 import HttpStatus, StatusCode
from envoy_data_plane.google.protobuf import Any, Struct
from envoy_data_plane.google.rpc import Status
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from authz_server.pb.envoy.service.auth.v3 import external_auth_pb2 as ours

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")

ROOT = Path(__file__).parents[2]
STRUCT = Struct.from_dict({"list": [1.5, None, True, "text", {"inner": {}}], "größe": "x"})
ANY = Any(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\n\x01x")
METADATA = Metadata(filter_metadata={"envoy.filters.http.jwt_authn": STRUCT}, typed_filter_metadata={"t": ANY})
SOCKET = SocketAddress(
    protocol=SocketAddressProtocol.UDP,
    address="2001:db8::1",
    port_value=65535,
    resolver_name="r",
    ipv4_compat=True,
    network_namespace_filepath="/run/netns/a",
)
ADDRESSES = {
    "socket address": Address(socket_address=SOCKET),
    "socket address with a named port": Address(socket_address=SocketAddress(address="h", named_port="http")),
    "pipe": Address(pipe=Pipe(path="/run/envoy.sock", mode=0o600)),
    "internal listener": Address(
        envoy_internal_address=EnvoyInternalAddress(server_listener_name="l", endpoint_id="e")
    ),
}


def a_request(address: Address) -> CheckRequest:
    """A request with every field, and this address on both sides."""
    peer = AttributeContextPeer(
        address=address,
        service="cluster",
        labels={"app": "web"},
        principal="spiffe://shop.example/web",
        certificate="-----BEGIN%20CERTIFICATE-----",
    )
    http = AttributeContextHttpRequest(
        id="7",
        method="GET",
        headers={":path": "/a?b", "x-name": "größe"},
        header_map=HeaderMap(
            headers=[
                HeaderValue(key="x-name", raw_value=b"gr\xc3\xb6\xff\x00"),
                HeaderValue(key="x-name", value="text"),
                HeaderValue(key="x-empty"),
            ]
        ),
        path="/a?b",
        host="shop.example",
        scheme="https",
        query="b",
        fragment="f",
        size=-1,
        protocol="HTTP/2",
        body="body",
        raw_body=b"\xff\x00body",
    )
    return CheckRequest(
        attributes=AttributeContext(
            source=peer,
            destination=peer,
            request=AttributeContextRequest(time=datetime(2026, 3, 2, 9, 0, 0, 123456, UTC), http=http),
            context_extensions={"service": "shop/orders", "empty": ""},
            metadata_context=METADATA,
            route_metadata_context=METADATA,
            tls_session=AttributeContextTlsSession(sni="shop.example"),
        )
    )


def headers() -> list[HeaderValueOption]:
    """A header with each append action, and the older way to say the same."""
    by_action = [
        HeaderValueOption(
            header=HeaderValue(key="x-a", value=str(action.value)), append_action=action, keep_empty_value=True
        )
        for action in AppendAction
    ]
    return [*by_action, *(HeaderValueOption(header=HeaderValue(key="x-b"), append=append) for append in (True, False))]


REQUESTS = {
    **{f"request with {name}": a_request(address) for name, address in ADDRESSES.items()},
    "empty request": CheckRequest(),
    "request as without a proxy": CheckRequest(
        attributes=AttributeContext(request=AttributeContextRequest(http=AttributeContextHttpRequest(path="/a.B/C")))
    ),
}


def responses() -> dict[str, CheckResponse]:
    """A response of each kind, each with every field."""
    denial = DeniedHttpResponse(status=HttpStatus(code=StatusCode.Forbidden), headers=headers(), body="größe")
    permission = OkHttpResponse(
        headers=headers(),
        headers_to_remove=["x-user", "x-workload"],
        dynamic_metadata=STRUCT,
        response_headers_to_add=headers(),
        query_parameters_to_set=[QueryParameter(key="a", value="1"), QueryParameter(key="b")],
        query_parameters_to_remove=["c", "d"],
    )
    status = Status(code=7, message="no", details=[ANY])
    return {
        "empty response": CheckResponse(),
        "ok_response": CheckResponse(status=Status(code=0), ok_response=permission, dynamic_metadata=STRUCT),
        "denied_response": CheckResponse(status=status, denied_response=denial, dynamic_metadata=STRUCT),
        "error_response": CheckResponse(status=status, error_response=denial, dynamic_metadata=STRUCT),
    }


# Some fields are deprecated, and on the wire all the same.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    RESPONSES = responses()


def test_the_stubs_are_current(tmp_path: Path) -> None:
    """Generating them again gives the same files, byte for byte."""
    made = tmp_path / "pb"
    subprocess.run([sys.executable, ROOT / "tools" / "generate_proto.py", made], check=True)
    there = ROOT / "authz_server" / "pb"
    assert _files(made) == _files(there), "run `make proto`"


@pytest.mark.parametrize("theirs", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_survives_the_way_through_our_stubs(theirs: CheckRequest) -> None:
    """Field for field the same to us, and back."""
    mine = ours.CheckRequest.FromString(bytes(theirs))
    assert MessageToDict(mine) == theirs.to_dict()
    assert CheckRequest.parse(mine.SerializeToString()) == theirs


@pytest.mark.parametrize("theirs", RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_survives_the_way_through_our_stubs(theirs: CheckResponse) -> None:
    """Field for field the same to us, and back."""
    mine = ours.CheckResponse.FromString(bytes(theirs))
    assert MessageToDict(mine) == theirs.to_dict()
    assert CheckResponse.parse(mine.SerializeToString()) == theirs


def test_the_messages_above_have_every_field_of_our_stubs() -> None:
    """A field that is added to proto/ is compared, too."""
    parsed: list[Message] = [ours.CheckRequest.FromString(bytes(theirs)) for theirs in REQUESTS.values()]
    parsed += [ours.CheckResponse.FromString(bytes(theirs)) for theirs in RESPONSES.values()]
    used = {name for message in parsed for name in _fields_in(message)}
    known = {name for top in (ours.CheckRequest, ours.CheckResponse) for name in _fields_of(top, set())}
    assert known - used == set()
    assert len(known) > 60


def test_the_service_has_the_name_that_envoy_calls() -> None:
    """`/envoy.service.auth.v3.Authorization/Check`, from a CheckRequest to a CheckResponse."""
    [service] = ours.DESCRIPTOR.services_by_name.values()
    [method] = service.methods
    assert (service.full_name, method.name) == ("envoy.service.auth.v3.Authorization", "Check")
    assert (method.input_type, method.output_type) == (ours.CheckRequest.DESCRIPTOR, ours.CheckResponse.DESCRIPTOR)


def _files(directory: Path) -> dict[str, bytes]:
    paths = [path for path in directory.rglob("*.py*") if path.suffix in {".py", ".pyi"}]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def _fields_in(message: Message) -> Iterator[str]:
    """The full names of the fields that are set, in Envoy's messages."""
    for field, value in message.ListFields():
        if not field.full_name.startswith("envoy."):
            continue
        yield field.full_name
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [item for item in value.values() if isinstance(item, Message)]
        else:
            inner = [value] if isinstance(value, Message) else list(value)
        for item in inner:
            yield from _fields_in(item)


def _fields_of(kind: type[Message], seen: set[str]) -> Iterator[str]:
    """The full names of all fields of Envoy's messages that can be reached from here."""
    descriptor = kind.DESCRIPTOR
    if descriptor.full_name in seen or not descriptor.full_name.startswith("envoy."):
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if not descriptor.GetOptions().map_entry:
            yield field.full_name
        if field.message_type is not None:
            yield from _fields_of(GetMessageClass(cast(Descriptor, field.message_type)), seen)
