package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// registryAPI answers the HTTP API of Confluent's registry, as its reference
// "Schema Registry API" describes it. Bodies of errors hold error_code and
// message.
type registryAPI struct {
	store  *store
	logger *slog.Logger
}

const (
	contentType = "application/vnd.schemaregistry.v1+json"
	maxRequest  = 4 << 20 // bytes of a request's body
)

// apiError is an answer that is no success.
type apiError struct {
	status, code int
	message      string
}

func (e *apiError) Error() string { return e.message }

func notFound(code int, format string, args ...any) error {
	return &apiError{http.StatusNotFound, code, fmt.Sprintf(format, args...)}
}

func subjectNotFound(name string) error { return notFound(40401, "Subject '%s' not found.", name) }

func versionNotFound(version string) error { return notFound(40402, "Version %s not found.", version) }

func schemaNotFound(id string) error { return notFound(40403, "Schema %s not found", id) }

func unprocessable(code int, format string, args ...any) error {
	return &apiError{http.StatusUnprocessableEntity, code, fmt.Sprintf(format, args...)}
}

func invalidSchema(err error) error { return unprocessable(42201, "Invalid schema: %v", err) }

func incompatible(subject, level string, problems []string) error {
	return &apiError{http.StatusConflict, http.StatusConflict, fmt.Sprintf(
		"Schema being registered is incompatible with an earlier schema for subject \"%s\", compatibility %s: %s",
		subject, level, strings.Join(problems, "; "))}
}

// answer is what a handler returns: a value to send as JSON, or an error.
type answer func(r *http.Request) (any, error)

func (a *registryAPI) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]answer{
		"GET /{$}":                                                  func(*http.Request) (any, error) { return struct{}{}, nil },
		"GET /schemas/types":                                        func(*http.Request) (any, error) { return []string{"AVRO"}, nil },
		"GET /schemas":                                              a.schemas,
		"GET /schemas/ids/{id}":                                     a.schemaByID,
		"GET /schemas/ids/{id}/schema":                              a.schemaByID,
		"GET /schemas/ids/{id}/subjects":                            a.usesOfID,
		"GET /schemas/ids/{id}/versions":                            a.usesOfID,
		"GET /subjects":                                             a.subjects,
		"GET /subjects/{subject}/versions":                          a.versions,
		"POST /subjects/{subject}/versions":                         a.register,
		"POST /subjects/{subject}":                                  a.lookup,
		"DELETE /subjects/{subject}":                                a.deleteSubject,
		"GET /subjects/{subject}/versions/{version}":                a.version,
		"GET /subjects/{subject}/versions/{version}/schema":         a.version,
		"GET /subjects/{subject}/versions/{version}/referencedby":   a.referencedBy,
		"DELETE /subjects/{subject}/versions/{version}":             a.deleteVersion,
		"POST /compatibility/subjects/{subject}/versions":           a.compatible,
		"POST /compatibility/subjects/{subject}/versions/{version}": a.compatible,
		"GET /config":                                               a.level,
		"PUT /config":                                               a.setLevel,
		"DELETE /config":                                            a.resetLevel,
		"GET /config/{subject}":                                     a.level,
		"PUT /config/{subject}":                                     a.setLevel,
		"DELETE /config/{subject}":                                  a.resetLevel,
		"GET /mode":                                                 a.mode,
		"PUT /mode":                                                 a.setMode,
		"GET /mode/{subject}":                                       a.mode,
		"PUT /mode/{subject}":                                       a.setMode,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
			v, err := handle(r)
			a.send(w, r, v, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.send(w, r, nil, &apiError{http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found"})
	})
	return mux
}

// send writes an answer.
func (a *registryAPI) send(w http.ResponseWriter, r *http.Request, v any, err error) {
	status := http.StatusOK
	if err != nil {
		e, ok := errors.AsType[*apiError](err)
		if !ok {
			e = &apiError{http.StatusInternalServerError, 50001, err.Error()}
			a.logger.Error("registry: request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		status = e.status
		v = map[string]any{"error_code": e.code, "message": e.message}
	}
	w.Header().Set("Content-Type", contentType)
	if raw, ok := v.(json.RawMessage); ok { // a schema as it was registered
		w.WriteHeader(status)
		_, _ = w.Write(raw) // an error is the client's going away
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error_code":50001,"message":"marshal answer"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// read takes a request's body, which must hold one JSON value. Keys that it
// does not know are passed over: clients send metadata, rules and flags.
func read(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		return &apiError{http.StatusBadRequest, 400, fmt.Sprintf("Unable to process JSON: %v", err)}
	}
	return nil
}

// schemaRequest is the body that carries a schema.
type schemaRequest struct {
	Schema     string            `json:"schema"`
	SchemaType string            `json:"schemaType"`
	References []json.RawMessage `json:"references"`
}

func readSchema(r *http.Request) (string, error) {
	var body schemaRequest
	if err := read(r, &body); err != nil {
		return "", err
	}
	if body.SchemaType != "" && body.SchemaType != "AVRO" {
		return "", unprocessable(42201, "Invalid schema type %s: this registry does Avro only", body.SchemaType)
	}
	if len(body.References) > 0 {
		return "", unprocessable(42201, "Invalid schema: this registry does no references between schemas")
	}
	if body.Schema == "" {
		return "", unprocessable(42201, "Empty schema")
	}
	return body.Schema, nil
}

func flag(r *http.Request, name string) bool { return r.URL.Query().Get(name) == "true" }

// subjectVersion is a version as answers show it.
type subjectVersion struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
}

func show(name string, v *schemaVersion) subjectVersion {
	return subjectVersion{name, v.number, v.id, v.text}
}

func (a *registryAPI) register(r *http.Request) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	id, err := a.store.register(r.PathValue("subject"), text)
	if err != nil {
		return nil, err
	}
	return map[string]int{"id": id}, nil
}

func (a *registryAPI) lookup(r *http.Request) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	wanted, err := parseVersion(text)
	if err != nil {
		return nil, invalidSchema(err)
	}
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	vs, err := a.find(r)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Backward(vs) {
		if v.canonical == wanted.canonical {
			return show(r.PathValue("subject"), v), nil
		}
	}
	return nil, notFound(40403, "Schema not found")
}

// find returns the versions of the request's subject: those that are not
// deleted, or all when it asks for them. There is at least one.
func (a *registryAPI) find(r *http.Request) ([]*schemaVersion, error) {
	name := r.PathValue("subject")
	sub := a.store.subjects[name]
	vs := sub.live()
	if flag(r, "deleted") && sub != nil {
		vs = sub.versions
	}
	if len(vs) == 0 {
		return nil, subjectNotFound(name)
	}
	return vs, nil
}

// pick returns the version that a request names: a number, latest or -1.
func pick(vs []*schemaVersion, name string) (*schemaVersion, error) {
	if name == "latest" || name == "-1" {
		return vs[len(vs)-1], nil
	}
	number, err := strconv.ParseInt(name, 10, 32)
	if err != nil || number < 1 {
		return nil, unprocessable(42202, "The specified version '%s' is not a valid version id. "+
			"Allowed values are between [1, 2^31-1] and the string \"latest\"", name)
	}
	for _, v := range vs {
		if v.number == int(number) {
			return v, nil
		}
	}
	return nil, versionNotFound(name)
}

func (a *registryAPI) version(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	vs, err := a.find(r)
	if err != nil {
		return nil, err
	}
	v, err := pick(vs, r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(r.URL.Path, "/schema") {
		return json.RawMessage(v.text), nil
	}
	return show(r.PathValue("subject"), v), nil
}

func (a *registryAPI) versions(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	vs, err := a.find(r)
	if err != nil {
		return nil, err
	}
	return numbers(vs), nil
}

func numbers(vs []*schemaVersion) []int {
	ns := make([]int, len(vs))
	for i, v := range vs {
		ns[i] = v.number
	}
	return ns
}

func (a *registryAPI) referencedBy(r *http.Request) (any, error) {
	if _, err := a.version(r); err != nil {
		return nil, err
	}
	return []int{}, nil
}

func (a *registryAPI) subjects(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	names := []string{}
	for name, sub := range a.store.subjects {
		if strings.HasPrefix(name, r.URL.Query().Get("subjectPrefix")) && (flag(r, "deleted") || len(sub.live()) > 0) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (a *registryAPI) schemas(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	all := []subjectVersion{}
	for _, name := range slices.Sorted(maps.Keys(a.store.subjects)) {
		if !strings.HasPrefix(name, r.URL.Query().Get("subjectPrefix")) {
			continue
		}
		vs := a.store.subjects[name].live()
		if flag(r, "deleted") {
			vs = a.store.subjects[name].versions
		}
		if flag(r, "latestOnly") && len(vs) > 1 {
			vs = vs[len(vs)-1:]
		}
		for _, v := range vs {
			all = append(all, show(name, v))
		}
	}
	return all, nil
}

func (a *registryAPI) schemaByID(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	text, err := a.textOf(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(r.URL.Path, "/schema") {
		return json.RawMessage(text), nil
	}
	return map[string]string{"schema": text}, nil
}

func (a *registryAPI) textOf(id string) (string, error) {
	number, err := strconv.Atoi(id)
	if err != nil {
		return "", &apiError{http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found"}
	}
	text, ok := a.store.texts[number]
	if !ok {
		return "", schemaNotFound(id)
	}
	return text, nil
}

// usesOfID tells the subjects, or the subjects and versions, of a schema.
func (a *registryAPI) usesOfID(r *http.Request) (any, error) {
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	if _, err := a.textOf(r.PathValue("id")); err != nil {
		return nil, err
	}
	id, _ := strconv.Atoi(r.PathValue("id")) // checked by textOf
	type use struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	uses, names := []use{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(a.store.subjects)) {
		for _, v := range a.store.subjects[name].versions {
			if v.id != id || v.deleted && !flag(r, "deleted") {
				continue
			}
			uses = append(uses, use{name, v.number})
			if len(names) == 0 || names[len(names)-1] != name {
				names = append(names, name)
			}
		}
	}
	if strings.HasSuffix(r.URL.Path, "/subjects") {
		return names, nil
	}
	return uses, nil
}
