// Package secret holds texts that must never be printed: passwords, tokens and
// URLs that contain them.
package secret

import "log/slog"

const redacted = "[redacted]"

// String is a text that prints as [redacted], however it is formatted, logged
// or marshalled. Reveal returns the text itself.
type String struct{ s string }

// New wraps s.
func New(s string) String { return String{s} }

// Reveal returns the text, for the one place that needs it.
func (s String) Reveal() string { return s.s }

// IsZero reports whether there is no text.
func (s String) IsZero() bool { return s.s == "" }

func (s String) String() string               { return redacted }
func (s String) GoString() string             { return redacted }
func (s String) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }
