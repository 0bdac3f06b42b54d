package avro

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"cdc/replication"
)

// refuse turns what the registry answered for a subject into a refusal with
// the way out. ctx's errors and errors of no known kind pass through.
func (r *Registry) refuse(subject string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &replication.Refusal{
			Problem: "schema registry " + r.url + ": its certificate is not trusted",
			Remedy:  "name the certificate authority that signed it in registry.tls.ca",
			Err:     err,
		}
	}
	if notRegistry(err) {
		return &replication.Refusal{
			Problem: "what answers at " + r.url + " is no schema registry",
			Remedy:  "set registry.url to the root of the Confluent API, with https:// if it speaks TLS: curl " + r.url + "/subjects must answer with a JSON array",
			Err:     err,
		}
	}
	answer, ok := errors.AsType[*sr.ResponseError](err)
	if !ok {
		return fmt.Errorf("ask schema registry for subject %s: %w", subject, err)
	}
	config := r.url + "/config/" + url.PathEscape(subject)
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return &replication.Refusal{
			Problem: fmt.Sprintf("schema registry %s refuses access (%d): %s", r.url, answer.StatusCode, answer.Error()),
			Remedy:  "set registry.username and registry.password, or registry.token, to ones that may read and write subjects",
		}
	case http.StatusConflict:
		allow := "curl -X PUT -H 'Content-Type: application/vnd.schemaregistry.v1+json' --data '{\"compatibility\":\"NONE\"}' " + config
		if strings.HasSuffix(subject, "-key") {
			return &replication.Refusal{
				Problem: fmt.Sprintf("subject %s: the columns or types of the table's key have changed, and the schema registry rejects the new key as incompatible: %s", subject, answer.Error()),
				Remedy: "the records under the old keys stay in the topic, so let the table begin a new one: take it out of the configuration, start and stop, then add it with another topic (tables: topic); its rows are read again" +
					"; or, where the old records do no harm, allow the change: " + allow,
			}
		}
		return &replication.Refusal{
			Problem: fmt.Sprintf("subject %s: the schema registry rejects the table's new schema as incompatible: %s", subject, answer.Error()),
			Remedy: "either allow the change: " + allow +
				"; or give the table another topic (tables: topic) so that the new schema starts a new subject",
		}
	case http.StatusUnprocessableEntity:
		return &replication.Refusal{
			Problem: fmt.Sprintf("subject %s: the schema registry rejects the schema as invalid: %s", subject, answer.Error()),
			Remedy: "see what rules the registry has for the subject: curl " + config +
				"; then relax them, or give the table another topic (tables: topic), or register a schema that they allow by hand and set registry.mode: lookup",
		}
	case http.StatusNotFound:
		if r.mode == Lookup && subject != "" {
			return &replication.Refusal{
				Problem: fmt.Sprintf("subject %s: the schema registry does not have the table's schema, and registry.mode is lookup: %s", subject, answer.Error()),
				Remedy: "register it: curl -X POST -H 'Content-Type: application/vnd.schemaregistry.v1+json' --data @schema.json " +
					r.url + "/subjects/" + url.PathEscape(subject) + "/versions; or set registry.mode: register",
			}
		}
		return &replication.Refusal{
			Problem: fmt.Sprintf("schema registry %s: %s (404)", r.url, answer.Error()),
			Remedy:  "set registry.url to the root of the Confluent API: curl " + r.url + "/subjects must answer",
		}
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("subject %s: the schema registry answers %d: %s", subject, answer.StatusCode, answer.Error()),
		Remedy:  "check registry.url and the registry's own log",
	}
}

var errNoID = errors.New("the answer has no schema id")

// notRegistry reports whether the answer is one that no registry gives: no
// JSON, or HTTP where TLS was asked for.
func notRegistry(err error) bool {
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return true
	}
	return errors.Is(err, errNoID) || errors.Is(err, http.ErrSchemeMismatch)
}

// unusable turns what the registry answered for an id or a reference into
// ErrUnusableSchema, when it is the schema that is missing.
func (r *Registry) unusable(what string, err error) error {
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
		default:
			return fmt.Errorf("%s: %w: the registry says: %s", what, ErrUnusableSchema, answer.Error())
		}
	}
	return r.refuse("", err)
}
