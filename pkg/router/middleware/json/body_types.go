package json

// M is a JSON object.
type M map[string]any

// Error is sent as {"error": text}. For an error with a code send a *router.Error.
type Error string

// FieldError is sent as a failed validation of one field of the client's data. A
// slice of them can be sent as well.
type FieldError struct {
	Field string
	Error string
}

// validation is the data of field errors.
func validation(errors []FieldError) M {
	fields := make([]map[string]string, len(errors))
	for i, e := range errors {
		fields[i] = map[string]string{e.Field: e.Error}
	}
	return M{"error": "Validation error", "fields": fields}
}
