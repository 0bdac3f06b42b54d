package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Remedy returns what a person has to do about err, and whether it is one of
// the errors that stay until somebody does: refused credentials, missing
// rights, a certificate that does not verify, topics that must not be created.
// what names the operation and the topic that rights are missing for:
// "Write on topic public.orders".
func Remedy(err error, what string) (string, bool) {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "check kafka.sasl: mechanism, username and password (or token), and that the listener wants them", true
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return "grant the Kafka user " + what + " (kafka-acls.sh --add)", true
	case errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.InvalidReplicationFactor), errors.Is(err, kerr.InvalidPartitions), errors.Is(err, kerr.InvalidConfig):
		return "set kafka.topics to what the cluster allows, or create the topic by hand and set kafka.topics.create: false", true
	case errors.Is(err, kerr.InvalidRecord):
		return "the brokers refuse the record itself; a compacted topic takes no records without a key: choose a key for the table, or set cleanup.policy=delete on the topic", true
	case errors.Is(err, kerr.InvalidTimestamp):
		return "records bear the time of their commit: set the database's clock right if it is ahead of the brokers', or let the topic take them " +
			"(kafka-configs.sh --alter --entity-type topics --entity-name … --add-config message.timestamp.after.max.ms=9223372036854775807, and message.timestamp.before.max.ms if that is bounded; message.timestamp.difference.max.ms before Kafka 3.6)", true
	case errors.Is(err, kerr.InvalidTopicException):
		return "change the topic template: letters, digits, '.', '_' and '-' only, at most 249 characters", true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "set kafka.tls.ca to the authority that signed the brokers' certificates, and kafka.tls.server_name if they carry another name", true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "set kafka.tls.ca to the authority that signed the brokers' certificates", true
	}
	return "", false
}
