package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// realDebezium is a Kafka Connect worker with Debezium's connectors. It is
// started by the first test that asks and stopped by stopDebezium.
var realDebezium struct {
	once   sync.Once
	server *services.Server
	err    error
}

// debeziumWorker returns the URL of the worker's REST API. CDC_TEST_CONNECT_URL
// names one that runs already.
func debeziumWorker(t *testing.T) string {
	t.Helper()
	if worker := os.Getenv("CDC_TEST_CONNECT_URL"); worker != "" {
		return worker
	}
	r := &realDebezium
	r.once.Do(func() {
		home, err := services.Find(os.Stderr)
		if err != nil {
			r.err = err
			return
		}
		r.server = home.Connect(servicetest.Name(t, "connect"), services.Connect{
			Brokers: strings.Join(servicetest.Kafka(t), ","), Registry: servicetest.Registry(t),
		})
		_, r.err = r.server.Start(context.WithoutCancel(t.Context()))
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.server.Address()
}

// stopDebezium ends the worker and removes its folder.
func stopDebezium() error {
	if realDebezium.server == nil {
		return nil
	}
	return realDebezium.server.Remove(context.Background())
}

// connector is one connector of the worker.
type connector struct{ worker, name string }

// captureByDebezium starts a connector that reads the world's source into
// topics prefix.schema.table, and returns when its task runs.
func (w *world) captureByDebezium(t *testing.T, prefix string, options map[string]string) *connector {
	t.Helper()
	u, err := url.Parse(w.source)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]string{
		"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "database.dbname": strings.TrimPrefix(u.Path, "/"),
		"plugin.name": "pgoutput", "slot.name": prefix, "publication.name": prefix,
	}
	maps.Copy(config, options)
	return runConnector(t, u, prefix, config)
}

// runConnector starts a connector to the database of u, and returns when its
// task runs.
func runConnector(t *testing.T, u *url.URL, prefix string, options map[string]string) *connector {
	t.Helper()
	password, _ := u.User.Password()
	config := map[string]string{
		"database.hostname": u.Hostname(), "database.port": u.Port(), "database.user": u.User.Username(), "database.password": password,
		"topic.prefix": prefix,
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
		"poll.interval.ms":            "10",
		"schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro",
	}
	maps.Copy(config, options)
	c := &connector{worker: debeziumWorker(t), name: prefix}
	c.ask(t, http.MethodPut, "/config", config)
	t.Cleanup(func() {
		if t.Failed() {
			c.explain(t)
		}
		c.remove(t)
	})
	eventually(t, time.Minute, "the connector runs", func() error { return c.runs(t) })
	return c
}

// runs reports whether the task runs. One that has failed ends the test.
func (c *connector) runs(t *testing.T) error {
	t.Helper()
	var status struct {
		Connector struct{ State string }
		Tasks     []struct{ State, Trace string }
	}
	if err := json.Unmarshal(c.ask(t, http.MethodGet, "/status", nil), &status); err != nil {
		return err
	}
	for _, task := range status.Tasks {
		if task.State == "FAILED" {
			t.Fatal(task.Trace)
		}
	}
	if status.Connector.State != "RUNNING" || len(status.Tasks) == 0 || status.Tasks[0].State != "RUNNING" {
		return fmt.Errorf("%+v", status)
	}
	return nil
}

// ask sends a request about the connector and returns the answer's body.
func (c *connector) ask(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	var out []byte
	eventually(t, 30*time.Second, method+" "+path, func() error {
		var in io.Reader
		if body != nil {
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			in = bytes.NewReader(b)
		}
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, c.worker+"/connectors/"+c.name+path, in)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if out, err = io.ReadAll(resp.Body); err != nil {
			return err
		}
		switch resp.StatusCode {
		case http.StatusNotFound, http.StatusConflict: // not yet, or busy
			return fmt.Errorf("%s: %s", resp.Status, out)
		case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
			return nil
		}
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, out)
		return nil
	})
	return out
}

// explain logs how the connector and its worker are.
func (c *connector) explain(t *testing.T) {
	t.Helper()
	status, err := get(t, c.worker+"/connectors/"+c.name+"/status")
	t.Logf("connector %s: %s %v", c.name, status, err)
	if s := realDebezium.server; s != nil {
		log, err := os.ReadFile(s.LogFile())
		t.Logf("%s %v", log[max(0, len(log)-6000):], err)
	}
}

// remove ends the connector; its slot and its topics stay.
func (c *connector) remove(t *testing.T) {
	t.Helper()
	req, err := http.NewRequest(http.MethodDelete, c.worker+"/connectors/"+c.name, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("remove connector %s: %v", c.name, err)
		return
	}
	resp.Body.Close()
}
