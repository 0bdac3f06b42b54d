package config

import (
	"net/url"
	"slices"
	"strings"
)

func (k *Kafka) complete(d *decoder) {
	var brokers []string
	for _, text := range k.Brokers {
		for b := range strings.SplitSeq(text, ",") {
			if b = strings.TrimSpace(b); b != "" {
				brokers = append(brokers, b)
			}
		}
	}
	if k.Brokers = brokers; len(brokers) == 0 && d.given("kafka.brokers") && !d.hasProblem("kafka.brokers") {
		d.at("kafka.brokers", "must name at least one broker")
	}
	k.TLS.complete(d, "kafka.tls")
	if k.SASL != nil {
		k.SASL.complete(d)
	}
	if d.given("kafka.buffer") && k.Buffer < 1<<20 && !d.hasProblem("kafka.buffer") {
		d.at("kafka.buffer", "must be at least 1MiB")
	}
	if k.MaxRecord != 0 && k.MaxRecord < 1<<10 {
		d.at("kafka.max_record", "must be 0 or at least 1KiB")
	}
	if k.MaxRecord > 1<<30 {
		d.at("kafka.max_record", "must be at most 1GiB")
	}
	if !topicForm.MatchString(k.CheckpointTopic) {
		d.at("kafka.checkpoint_topic", "%q is not a topic's name", k.CheckpointTopic)
	}
	if k.MaxRecord > 0 && k.Topics.Config["max.message.bytes"] != "" {
		d.at("kafka.topics.config.max.message.bytes", "cannot stand beside kafka.max_record, which sets it")
	}
}

func (t *TLS) complete(d *decoder, path string) {
	if t == nil {
		return
	}
	switch {
	case t.Cert != "" && t.Key == "":
		d.at(path+".cert", "needs key beside it")
	case t.Key != "" && t.Cert == "":
		d.at(path+".key", "needs cert beside it")
	}
}

func (s *SASL) complete(d *decoder) {
	const path = "kafka.sasl"
	tokens := []string{"token", "token_file", "token_url"}
	client := []string{"client_id", "client_secret", "client_secret_file", "scope"}
	switch s.Mechanism {
	case "plain", "scram-sha-256", "scram-sha-512":
		if s.Username == "" && !d.hasProblem(path+".username") {
			d.at(path, "username is missing: mechanism %s needs it", s.Mechanism)
		}
		if s.Password.IsZero() && !d.hasProblem(path+".password_file") && !d.hasProblem(path+".password") {
			d.at(path, "password (or password_file) is missing: mechanism %s needs it", s.Mechanism)
		}
		for _, f := range d.givenOf(path, slices.Concat(tokens, client, []string{"extensions"})...) {
			d.at(path+"."+f, "is for mechanism oauthbearer")
		}
	case "oauthbearer":
		for _, f := range d.givenOf(path, "username", "password", "password_file") {
			d.at(path+"."+f, "is for the mechanisms plain and scram")
		}
		ways := d.givenOf(path, tokens...)
		if !slices.Contains(ways, "token_url") {
			for _, f := range d.givenOf(path, client...) {
				d.at(path+"."+f, "goes with token_url")
			}
		}
		switch {
		case len(ways) == 0:
			d.at(path, "one of token, token_file and token_url is missing: mechanism oauthbearer needs it")
		case len(ways) > 1:
			d.at(path+"."+ways[1], "cannot stand beside %s", ways[0])
		case ways[0] == "token_url" && s.ClientID == "":
			d.at(path, "client_id is missing: token_url needs it")
		}
		if s.TokenURL != "" {
			checkURL(d, path+".token_url", s.TokenURL)
		}
	}
}

func checkURL(d *decoder, path, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		d.at(path, "must be http://host or https://host")
	case u.User != nil:
		d.at(path, "must not hold a password: use username and password")
	}
}

func (r *Registry) complete(d *decoder) {
	if r.URL != "" {
		checkURL(d, "registry.url", r.URL)
	}
	r.TLS.complete(d, "registry.tls")
	if r.TLS != nil && strings.HasPrefix(r.URL, "http://") {
		d.at("registry.tls", "is for https://, and registry.url begins with http://")
	}
	if !r.Token.IsZero() && r.Username != "" {
		d.at("registry.username", "cannot stand beside token")
	}
	if !r.Password.IsZero() && r.Username == "" {
		d.at("registry", "username is missing: password needs it")
	}
}
