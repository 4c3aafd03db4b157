package envelope_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

// envelopeDescriptor is what a compiler makes of envelope.proto.
var envelopeDescriptor = describe()

func describe() protoreflect.MessageDescriptor {
	const (
		text, raw, number, message = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES,
			descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
			descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
		one, many = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	field := func(name string, at int32, typ descriptorpb.FieldDescriptorProto_Type,
		label descriptorpb.FieldDescriptorProto_Label, of string,
	) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &at, Type: &typ, Label: &label, JsonName: &name}
		if of != "" {
			f.TypeName = new(".velaros.protobuf." + of)
		}
		return f
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("envelope.proto"), Package: new("velaros.protobuf"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{
				Name: new("Envelope"),
				Field: []*descriptorpb.FieldDescriptorProto{
					field("id", 1, text, one, ""), field("path", 2, text, one, ""), field("data", 3, raw, one, ""),
					field("meta", 4, message, many, "Envelope.MetaEntry"), field("error", 5, message, one, "Error"),
				},
				NestedType: []*descriptorpb.DescriptorProto{{
					Name:    new("MetaEntry"),
					Field:   []*descriptorpb.FieldDescriptorProto{field("key", 1, text, one, ""), field("value", 2, raw, one, "")},
					Options: &descriptorpb.MessageOptions{MapEntry: new(true)},
				}},
			},
			{Name: new("Error"), Field: []*descriptorpb.FieldDescriptorProto{
				field("error", 1, text, one, ""), field("code", 2, text, one, ""), field("fields", 3, message, many, "FieldError"),
				field("retry_after", 4, number, one, ""),
			}},
			{Name: new("FieldError"), Field: []*descriptorpb.FieldDescriptorProto{
				field("field", 1, text, one, ""), field("error", 2, text, one, ""),
			}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file.Messages().ByName("Envelope")
}

func mapKey(s string) protoreflect.MapKey    { return protoreflect.ValueOfString(s).MapKey() }
func bytesValue(s string) protoreflect.Value { return protoreflect.ValueOfBytes([]byte(s)) }

func protobufError(t *testing.T, msg []byte) (text, code string, retryAfter float64, fields []map[string]string) {
	t.Helper()
	m := dynamicpb.NewMessage(envelopeDescriptor)
	if err := proto.Unmarshal(msg, m); err != nil {
		t.Fatal(err)
	}
	get := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	e := get(m, "error").Message()
	list := get(e, "fields").List()
	for i := range list.Len() {
		f := list.Get(i).Message()
		fields = append(fields, map[string]string{get(f, "field").String(): get(f, "error").String()})
	}
	return get(e, "error").String(), get(e, "code").String(), get(e, "retry_after").Float(), fields
}

var protobufCases = []struct {
	name, msg string
	want      error
}{
	{"empty", "", nil},
	{"all", "\x0a\x011\x12\x02/a\x1a\x03abc\x22\x06\x0a\x01k\x12\x01v", nil},
	{"any order", "\x22\x06\x0a\x01k\x12\x01v\x1a\x00\x12\x02/a\x0a\x011", nil},
	{"scattered meta", "\x22\x06\x0a\x01k\x12\x01v\x0a\x011\x22\x06\x0a\x01l\x12\x01w\x22\x06\x0a\x01m\x12\x01x", nil},
	{"unknown fields", "\x32\x01x\x38\x01\x41xxxxxxxx\x4dxxxx\x53\x38\x01\x54", nil},
	{"empty meta entry", "\x22\x00", nil},

	{"not a tag", "\xff", envelope.ErrMalformed},
	{"field number 0", "\x02\x00", envelope.ErrMalformed},
	{"field number over 29 bits", "\xf8\xff\xff\xff\x1f\x00", envelope.ErrMalformed},
	{"short", "\x0a\x05abc", envelope.ErrMalformed},
	{"end of no group", "\x54", envelope.ErrMalformed},
	{"id not UTF-8", "\x0a\x01\xff", envelope.ErrMalformed},
	{"path not UTF-8", "\x12\x01\xff", envelope.ErrMalformed},
	{"meta not a map entry", "\x22\x02\x0a\x05", envelope.ErrMalformed},
	{"meta key not UTF-8", "\x22\x03\x0a\x01\xff", envelope.ErrMalformed},
	{"JSON", `{"path":"/a"}`, envelope.ErrMalformed},
	{"id twice", "\x0a\x011\x0a\x012", envelope.ErrAmbiguous},
	{"path twice", "\x12\x011\x12\x011", envelope.ErrAmbiguous},
	{"data twice", "\x1a\x011\x1a\x011", envelope.ErrAmbiguous},
	{"id a number", "\x08\x01", envelope.ErrType},
	{"meta key a number", "\x22\x02\x08\x01", envelope.ErrType},
}

func TestPeekProtobuf(t *testing.T) {
	for _, c := range protobufCases {
		if h, err := envelope.Protobuf.Peek([]byte(c.msg)); !errors.Is(err, c.want) {
			t.Errorf("%s: head %+v, error %v; want %v", c.name, h, err, c.want)
		}
	}
}

// stricterProtobuf reports what Protobuf allows and Peek does not: a field twice,
// another wire type than the schema's, an id or path over the limit.
func stricterProtobuf(msg []byte) bool {
	seen := map[protowire.Number]bool{}
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeField(msg)
		if n < 0 {
			return false
		}
		_, _, tag := protowire.ConsumeTag(msg)
		v, _ := protowire.ConsumeBytes(msg[tag:])
		switch {
		case num > 4:
		case typ != protowire.BytesType, num != 4 && seen[num],
			num == 1 && len(v) > envelope.MaxIDLen, num == 2 && len(v) > envelope.MaxPathLen:
			return true
		case num == 4:
			for len(v) > 0 {
				num, typ, n := protowire.ConsumeField(v)
				if n < 0 {
					return false
				}
				if num <= 2 && typ != protowire.BytesType {
					return true
				}
				v = v[n:]
			}
		}
		seen[num] = true
		msg = msg[n:]
	}
	return false
}

func FuzzPeekProtobuf(f *testing.F) {
	for _, c := range protobufCases {
		f.Add([]byte(c.msg))
	}
	fields := envelopeDescriptor.Fields()
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, err := envelope.Protobuf.Peek(msg)
		want := dynamicpb.NewMessage(envelopeDescriptor)
		errWant := proto.Unmarshal(withoutError(msg), want)
		if (errWant == nil && !stricterProtobuf(msg)) != (err == nil) {
			t.Fatalf("reference: %v; Peek: %v", errWant, err)
		}
		if err != nil {
			return
		}
		meta := dynamicpb.NewMessage(envelopeDescriptor)
		if err := proto.Unmarshal(got.Meta, meta); err != nil {
			t.Fatal(err)
		}
		if m := want.Get(fields.ByName("meta")); !m.Equal(meta.Get(fields.ByName("meta"))) {
			t.Fatalf("meta %v, Peek: %q", m, got.Meta)
		}
		equalHeads(t, envelope.Head{
			ID:   []byte(want.Get(fields.ByName("id")).String()),
			Path: []byte(want.Get(fields.ByName("path")).String()),
			Data: want.Get(fields.ByName("data")).Bytes(),
			Meta: got.Meta,
		}, got)
	})
}

// withoutError drops the records of the error field, which only servers send: to
// Peek it is an unknown field.
func withoutError(msg []byte) []byte {
	var out []byte
	for rest := msg; len(rest) > 0; {
		num, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return msg
		}
		if num != 5 {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}

func TestProtobufMetaAliasesWherePossible(t *testing.T) {
	msg := []byte("\x22\x06\x0a\x01k\x12\x01v\x22\x06\x0a\x01l\x12\x01w")
	h, err := envelope.Protobuf.Peek(msg)
	if err != nil || !bytes.Equal(h.Meta, msg) || &h.Meta[0] != &msg[0] {
		t.Errorf("meta %q, %v", h.Meta, err)
	}
	h, err = envelope.Protobuf.Peek([]byte("\x22\x06\x0a\x01k\x12\x01v\x0a\x011\x22\x06\x0a\x01l\x12\x01w"))
	if err != nil || !bytes.Equal(h.Meta, msg) {
		t.Errorf("meta %q, %v", h.Meta, err)
	}
}

func BenchmarkPeekProtobuf(b *testing.B) {
	msg := envelope.Protobuf.AppendMessage(nil, envelope.Message{ID: "1234", Path: "/echo", Data: make([]byte, 100)})
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Protobuf.Peek(msg); err != nil {
			b.Fatal(err)
		}
	}
}
