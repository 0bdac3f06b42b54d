package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"cdc/internal/servicetest"
)

const (
	schemaInt      = `{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}`
	schemaIntSpace = `{"name": "A", "type":"record",  "fields":[{"type":"int","name":"a"}]}`
	schemaString   = `{"type":"record","name":"A","fields":[{"name":"a","type":"string"}]}`
	schemaMore     = `{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}`
	schemaMust     = `{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"c","type":"long"}]}`
	schemaLess     = `{"type":"record","name":"A","fields":[{"name":"b","type":["null","string"],"default":null}]}`
)

func startRegistry(t *testing.T, dir string) *Registry {
	t.Helper()
	r, err := StartRegistry(RegistryConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// call makes one request and returns the status and the decoded body.
func call(t *testing.T, method, url string, body any) (int, any) {
	t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out any
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		out = string(text)
	}
	return resp.StatusCode, out
}

func schemaBody(text string) map[string]string { return map[string]string{"schema": text} }

// TestRegistryAsARealOne asks the same of the embedded registry and of a real
// one: they must agree with what stands here, which is Confluent's reference.
func TestRegistryAsARealOne(t *testing.T) {
	steps := []struct {
		name, method, path string
		body               any
		status, code       int
		want               any // nil: only the status counts
	}{
		{"lookup under an unknown subject", "POST", "/subjects/$", schemaBody(schemaInt), 404, 40401, nil},
		{"versions of an unknown subject", "GET", "/subjects/$/versions", nil, 404, 40401, nil},
		{"register", "POST", "/subjects/$/versions", schemaBody(schemaInt), 200, 0, nil},
		{"make backward the rule", "PUT", "/config/$", map[string]string{"compatibility": "BACKWARD"}, 200, 0, nil},
		{"read the rule", "GET", "/config/$", nil, 200, 0, map[string]any{"compatibilityLevel": "BACKWARD"}},
		{"an unknown rule", "PUT", "/config/$", map[string]string{"compatibility": "SIDEWARD"}, 422, 42203, nil},
		{"register again", "POST", "/subjects/$/versions", schemaBody(schemaInt), 200, 0, nil},
		{"register with other spaces", "POST", "/subjects/$/versions", schemaBody(schemaIntSpace), 200, 0, nil},
		{"that made no version", "GET", "/subjects/$/versions", nil, 200, 0, []any{1.0}},
		{"int to string", "POST", "/subjects/$/versions", schemaBody(schemaString), 409, 409, nil},
		{"a field without default", "POST", "/subjects/$/versions", schemaBody(schemaMust), 409, 409, nil},
		{"no schema", "POST", "/subjects/$/versions", schemaBody(`{"type":"nosuch"}`), 422, 42201, nil},
		{"no JSON", "POST", "/subjects/$/versions", `xx`, 400, 0, nil},
		{"is it compatible: no", "POST", "/compatibility/subjects/$/versions/latest", schemaBody(schemaString), 200, 0, map[string]any{"is_compatible": false}},
		{"is it compatible: yes", "POST", "/compatibility/subjects/$/versions/latest", schemaBody(schemaMore), 200, 0, map[string]any{"is_compatible": true}},
		{"a field with default", "POST", "/subjects/$/versions", schemaBody(schemaMore), 200, 0, nil},
		{"lookup of what is not there", "POST", "/subjects/$", schemaBody(schemaString), 404, 40403, nil},
		{"versions", "GET", "/subjects/$/versions", nil, 200, 0, []any{1.0, 2.0}},
		{"a version that is not there", "GET", "/subjects/$/versions/9", nil, 404, 40402, nil},
		{"an id that is not there", "GET", "/schemas/ids/987654", nil, 404, 40403, nil},
		{"delete a version", "DELETE", "/subjects/$/versions/1", nil, 200, 0, 1.0},
		{"versions left", "GET", "/subjects/$/versions", nil, 200, 0, []any{2.0}},
		{"versions with the deleted", "GET", "/subjects/$/versions?deleted=true", nil, 200, 0, []any{1.0, 2.0}},
		{"lookup of the deleted", "POST", "/subjects/$", schemaBody(schemaInt), 404, 40403, nil},
		{"register the deleted again", "POST", "/subjects/$/versions", schemaBody(schemaInt), 200, 0, nil},
		{"it has a new number", "GET", "/subjects/$/versions", nil, 200, 0, []any{2.0, 3.0}},
		{"delete the subject", "DELETE", "/subjects/$", nil, 200, 0, nil},
		{"its versions", "GET", "/subjects/$/versions", nil, 404, 40401, nil},
		{"delete it again", "DELETE", "/subjects/$", nil, 404, 40404, nil},
		{"its mode", "GET", "/mode", nil, 200, 0, map[string]any{"mode": "READWRITE"}},
	}
	subject := servicetest.Name(t, "embedded") + "-value"
	for name, base := range map[string]string{
		"embedded": startRegistry(t, t.TempDir()).URL(), "real": servicetest.Registry(t),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				call(t, "DELETE", base+"/subjects/"+subject, nil)
				call(t, "DELETE", base+"/subjects/"+subject+"?permanent=true", nil)
			}()
			ids := map[string]any{}
			for _, s := range steps {
				status, got := call(t, s.method, base+strings.ReplaceAll(s.path, "$", subject), s.body)
				if status != s.status {
					t.Errorf("%s: status %d, want %d: %v", s.name, status, s.status, got)
				}
				if s.want != nil {
					if diff := cmp.Diff(s.want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", s.name, diff)
					}
				}
				object, _ := got.(map[string]any)
				if s.code != 0 && (object["error_code"] != float64(s.code) || object["message"] == "") {
					t.Errorf("%s: answer %v, want error_code %d and a message", s.name, got, s.code)
				}
				if id := object["id"]; id != nil && s.method == "POST" { // one schema, one id
					text := s.body.(map[string]string)["schema"]
					if text == schemaIntSpace {
						text = schemaInt
					}
					if before, known := ids[text]; known && before != id {
						t.Errorf("%s: id %v, before it was %v", s.name, id, before)
					}
					ids[text] = id
				}
			}
			if len(ids) != 2 || ids[schemaInt] == ids[schemaMore] {
				t.Errorf("ids are %v, want two that differ", ids)
			}
		})
	}
}

// TestRegistryLevels checks each rule against the same changes.
func TestRegistryLevels(t *testing.T) {
	type change struct{ name, from, to string }
	widen := change{"int to long", schemaInt, strings.Replace(schemaInt, `"int"`, `"long"`, 1)}
	narrow := change{"long to int", widen.to, widen.from}
	add := change{"a field with default", schemaInt, schemaMore}
	must := change{"a field without default", schemaInt, schemaMust}
	drop := change{"a field without default goes", schemaMust, schemaInt}
	both := change{"int to string", schemaInt, schemaString}
	// What the Avro specification's schema resolution allows.
	for level, allowed := range map[string]map[string]bool{
		"NONE":     {widen.name: true, narrow.name: true, add.name: true, must.name: true, drop.name: true, both.name: true},
		"BACKWARD": {widen.name: true, add.name: true, drop.name: true},
		"FORWARD":  {narrow.name: true, add.name: true, must.name: true},
		"FULL":     {add.name: true},
	} {
		r := startRegistry(t, t.TempDir())
		if status, got := call(t, "PUT", r.URL()+"/config", map[string]string{"compatibility": level}); status != 200 {
			t.Fatal(got)
		}
		for i, c := range []change{widen, narrow, add, must, drop, both} {
			path := fmt.Sprintf("%s/subjects/s%d/versions", r.URL(), i)
			if status, got := call(t, "POST", path, schemaBody(c.from)); status != 200 {
				t.Fatal(got)
			}
			want := 409
			if allowed[c.name] {
				want = 200
			}
			if status, got := call(t, "POST", path, schemaBody(c.to)); status != want {
				t.Errorf("%s, %s: status %d, want %d: %v", level, c.name, status, want, got)
			}
		}
	}
}

// TestRegistryTransitive goes over a version that hides the disagreement.
func TestRegistryTransitive(t *testing.T) {
	for level, want := range map[string]int{"BACKWARD": 200, "BACKWARD_TRANSITIVE": 409} {
		r := startRegistry(t, t.TempDir())
		path := r.URL() + "/subjects/s/versions"
		call(t, "PUT", r.URL()+"/config/s", map[string]string{"compatibility": level})
		// a:int goes, then comes back as a string with a default.
		for _, text := range []string{schemaInt, schemaLess} {
			if status, got := call(t, "POST", path, schemaBody(text)); status != 200 {
				t.Fatal(got)
			}
		}
		back := `{"type":"record","name":"A","fields":[{"name":"a","type":"string","default":""}]}`
		if status, got := call(t, "POST", path, schemaBody(back)); status != want {
			t.Errorf("%s: status %d, want %d: %v", level, status, want, got)
		}
	}
}

// TestRegistryMessage asserts that a refusal says which field and why.
func TestRegistryMessage(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	path := r.URL() + "/subjects/shop.orders-value/versions"
	call(t, "POST", path, schemaBody(schemaInt))
	_, got := call(t, "POST", path, schemaBody(schemaString))
	message, _ := got.(map[string]any)["message"].(string)
	for _, part := range []string{"shop.orders-value", "BACKWARD", "version 1", "field a", "reader: string", "writer: int"} {
		if !strings.Contains(message, part) {
			t.Errorf("the message lacks %q: %s", part, message)
		}
	}
	_, got = call(t, "POST", path, schemaBody(`{"type":"record","name":"A","fields":[{"name":"a","type":"nosuch"}]}`))
	if message, _ = got.(map[string]any)["message"].(string); !strings.Contains(message, "nosuch") {
		t.Errorf("the message lacks the type: %s", message)
	}
	_, got = call(t, "POST", r.URL()+"/compatibility/subjects/shop.orders-value/versions/latest?verbose=true", schemaBody(schemaString))
	if messages, _ := got.(map[string]any)["messages"].([]any); len(messages) != 1 || !strings.Contains(messages[0].(string), "field a") {
		t.Errorf("verbose says %v", got)
	}
}

// TestRegistryClient uses franz-go's client, over a restart and a torn log.
func TestRegistryClient(t *testing.T) {
	dir := t.TempDir()
	r := startRegistry(t, dir)
	client, err := sr.NewClient(sr.URLs(r.URL()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	create := func(subject, text string) sr.SubjectSchema {
		t.Helper()
		got, err := client.CreateSchema(ctx, subject, sr.Schema{Schema: text})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := create("a/b-key", schemaInt)
	second := create("a/b-value", schemaMore)
	if same := create("c-value", schemaInt); same.ID != first.ID || same.ID == second.ID {
		t.Errorf("ids %d %d %d, want the same schema to have the same id", first.ID, second.ID, same.ID)
	}
	create("c-value", schemaMore)
	if err := client.DeleteSchema(ctx, "c-value", 1, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	if got := client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFullTransitive}, "c-value")[0]; got.Err != nil {
		t.Fatal(got.Err)
	}
	state := func() string {
		t.Helper()
		all, err := client.AllSchemas(sr.WithParams(ctx, sr.ShowDeleted))
		if err != nil {
			t.Fatal(err)
		}
		live, err := client.SubjectVersions(ctx, "c-value")
		if err != nil {
			t.Fatal(err)
		}
		uses, err := client.SchemaUsagesByID(ctx, second.ID)
		if err != nil {
			t.Fatal(err)
		}
		levels := client.Compatibility(ctx, "c-value", sr.GlobalSubject)
		text, err := client.SchemaTextByID(ctx, first.ID)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(all, live, len(uses), levels, text)
	}
	before := state()
	if _, err := StartRegistry(RegistryConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second registry in the folder: error %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "schemas.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"do":"register","subject":"torn","ver`); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	again := startRegistry(t, dir)
	if again.URL() != r.URL() {
		t.Errorf("the URL changed over a restart: %s, %s", r.URL(), again.URL())
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if third := create("c-value", schemaMore); third.ID != second.ID || third.Version != 2 {
		t.Errorf("after a restart the schema is id %d version %d, want %d and 2", third.ID, third.Version, second.ID)
	}
	if fresh := create("torn", `"string"`); fresh.ID != 3 {
		t.Errorf("the next schema has id %d, want 3", fresh.ID)
	}
	// Hard deletes, in the two steps that Confluent asks for.
	if _, err := client.DeleteSubject(ctx, "c-value", sr.HardDelete); err == nil {
		t.Error("a hard delete without a soft one before was done")
	}
	for _, how := range []sr.DeleteHow{sr.SoftDelete, sr.HardDelete} {
		if _, err := client.DeleteSubject(ctx, "c-value", how); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.SchemaByID(context.WithoutCancel(ctx), second.ID); err != nil {
		t.Errorf("a schema that topics hold is gone with its subject: %v", err)
	}
	if got := create("c-value", schemaInt); got.Version != 1 {
		t.Errorf("after a hard delete the first version is %d", got.Version)
	}
	// A name that needs escaping arrives whole.
	if status, got := call(t, "GET", again.URL()+"/subjects/"+url.PathEscape("a/b-key")+"/versions", nil); status != 200 {
		t.Errorf("status %d: %v", status, got)
	}
}
