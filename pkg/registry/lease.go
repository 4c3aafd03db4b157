package registry

// MemberKind says what a lease member is.
type MemberKind string

// The kinds of members.
const (
	KindInstance MemberKind = "instance"
	KindGateway  MemberKind = "gateway"
)
