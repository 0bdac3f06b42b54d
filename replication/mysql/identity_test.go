package mysql

import "testing"

// TestIdentityGalera: the servers of a Galera cluster share a server_id and have
// logs of their own, of which one must not be taken for another.
func TestIdentityGalera(t *testing.T) {
	t.Parallel()
	s := serverInfo{mariadb: true, vars: map[string]string{"server_id": "77", "wsrep_on": "OFF"}}
	if got := s.identity(); got != "77" {
		t.Errorf("identity %q, want 77", got)
	}
	if s.vars["wsrep_on"] = "ON"; s.identity() != "" {
		t.Errorf("identity %q of a server of a cluster", s.identity())
	}
}
