"""Any message of ours means the same to an independent implementation of Envoy's messages, and comes back."""

from typing import Any as AnyValue
from typing import cast

import pytest
from envoy_data_plane.envoy.service.auth.v3 import CheckRequest, CheckResponse
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from authz_server.pb.envoy.service.auth.v3 import external_auth_pb2 as ours

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
SCALARS: dict[int, st.SearchStrategy[AnyValue]] = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
}


def a_struct(value: dict[str, AnyValue]) -> Struct:
    """The value as a protobuf Struct."""
    struct = Struct()
    struct.update(value)
    return struct


def an_any(text: str) -> Any:
    """The text in a wrapper in an Any."""
    packed = Any()
    packed.Pack(StringValue(value=text))
    return packed


# Types with a JSON form of their own. The other implementation keeps times to the microsecond.
WELL_KNOWN: dict[str, st.SearchStrategy[AnyValue]] = {
    "google.protobuf.Struct": st.dictionaries(TEXTS, JSON, max_size=3).map(a_struct),
    "google.protobuf.Any": TEXTS.map(an_any),
    "google.protobuf.Timestamp": st.builds(
        lambda seconds, micros: Timestamp(seconds=seconds, nanos=micros * 1000),
        st.integers(0, 2**33),
        st.integers(0, 999_999),
    ),
}


def messages(make: type[Message]) -> st.SearchStrategy[AnyValue]:
    """Messages of a type with any of their fields."""
    descriptor = make.DESCRIPTOR
    if descriptor.full_name in WELL_KNOWN:
        return WELL_KNOWN[descriptor.full_name]
    fields = {field.name: values(cast(FieldDescriptor, field)) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: make(**chosen))


def values(field: FieldDescriptor) -> st.SearchStrategy[AnyValue]:
    """What a field can hold."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return st.dictionaries(TEXTS, single(kind.fields_by_name["value"]), max_size=2)
    return st.lists(single(field), max_size=2) if field.is_repeated else single(field)


def single(field: FieldDescriptor) -> st.SearchStrategy[AnyValue]:
    """One value of a field's type."""
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.type] if field.message_type is None else messages(GetMessageClass(field.message_type))


@given(messages(ours.CheckRequest))
def test_any_request_is_the_same_to_both(mine: Message) -> None:
    """The same JSON form, and the same message on the way back."""
    theirs = CheckRequest.parse(mine.SerializeToString())
    assert theirs.to_dict() == MessageToDict(mine)
    assert ours.CheckRequest.FromString(bytes(theirs)) == mine


@given(messages(ours.CheckResponse))
def test_any_response_is_the_same_to_both(mine: Message) -> None:
    """The same JSON form, and the same message on the way back."""
    theirs = CheckResponse.parse(mine.SerializeToString())
    assert theirs.to_dict() == MessageToDict(mine)
    assert ours.CheckResponse.FromString(bytes(theirs)) == mine
