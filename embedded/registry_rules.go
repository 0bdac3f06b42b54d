package embedded

import (
	"cmp"
	"net/http"
	"slices"
)

// deleteSubject deletes all versions softly, or for good when permanent is
// asked for and they were deleted softly before.
func (a *registryAPI) deleteSubject(r *http.Request) (any, error) {
	name := r.PathValue("subject")
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	sub := a.store.subjects[name]
	if sub == nil {
		return nil, subjectNotFound(name)
	}
	live := sub.live()
	do, vs := "delete", live
	switch {
	case flag(r, "permanent") && len(live) > 0:
		return nil, notFound(40405, "Subject '%s' was not deleted first before being permanently deleted", name)
	case flag(r, "permanent"):
		do, vs = "purge", slices.Clone(sub.versions)
	case len(live) == 0:
		return nil, notFound(40404, "Subject '%s' was soft deleted. Set permanent=true to delete permanently", name)
	}
	entries := make([]entry, 0, len(vs)+1)
	for _, v := range vs {
		entries = append(entries, entry{Do: do, Subject: name, Version: v.number})
	}
	if _, own := a.store.levels[name]; own {
		entries = append(entries, entry{Do: "level", Subject: name})
	}
	ns := numbers(vs)
	return ns, a.store.change(entries...)
}

func (a *registryAPI) deleteVersion(r *http.Request) (any, error) {
	name, wanted := r.PathValue("subject"), r.PathValue("version")
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	sub := a.store.subjects[name]
	if sub == nil {
		return nil, subjectNotFound(name)
	}
	vs := sub.versions
	if wanted == "latest" || wanted == "-1" {
		if vs = sub.live(); len(vs) == 0 {
			return nil, subjectNotFound(name)
		}
	}
	v, err := pick(vs, wanted)
	if err != nil {
		return nil, err
	}
	do := "delete"
	switch {
	case flag(r, "permanent") && !v.deleted:
		return nil, notFound(40407, "Subject '%s' Version %d was not deleted first before being permanently deleted", name, v.number)
	case flag(r, "permanent"):
		do = "purge"
	case v.deleted:
		return nil, notFound(40406, "Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", name, v.number)
	}
	return v.number, a.store.change(entry{Do: do, Subject: name, Version: v.number})
}

// compatible tells whether a schema could follow, without registering it:
// compared with one version, or with those that the level asks for.
func (a *registryAPI) compatible(r *http.Request) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	v, err := parseVersion(text)
	if err != nil {
		return nil, invalidSchema(err)
	}
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	name := r.PathValue("subject")
	vs := a.store.subjects[name].live()
	if wanted := r.PathValue("version"); wanted != "" {
		if len(vs) == 0 {
			if wanted == "latest" || wanted == "-1" {
				return verdict{Is: true}, nil
			}
			return nil, subjectNotFound(name)
		}
		one, err := pick(vs, wanted)
		if err != nil {
			return nil, err
		}
		vs = []*schemaVersion{one}
	}
	problems := compare(a.store.level(name), vs, v)
	answer := verdict{Is: len(problems) == 0}
	if flag(r, "verbose") {
		answer.Messages = problems
	}
	return answer, nil
}

type verdict struct {
	Is       bool     `json:"is_compatible"`
	Messages []string `json:"messages,omitempty"`
}

// level tells the compatibility of one subject, or of all.
func (a *registryAPI) level(r *http.Request) (any, error) {
	name := r.PathValue("subject")
	a.store.mu.RLock()
	defer a.store.mu.RUnlock()
	level := a.store.levels[name]
	if level == "" && name != "" && !flag(r, "defaultToGlobal") {
		return nil, notFound(40408, "Subject '%s' does not have subject-level compatibility configured", name)
	}
	if level == "" {
		level = a.store.level(name)
	}
	return map[string]string{"compatibilityLevel": level}, nil
}

func (a *registryAPI) setLevel(r *http.Request) (any, error) {
	var body struct {
		Compatibility string `json:"compatibility"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if !slices.Contains(levels, body.Compatibility) {
		return nil, unprocessable(42203, "Invalid compatibility level: %s. Valid values are none, backward, forward, full, "+
			"backward_transitive, forward_transitive, and full_transitive", body.Compatibility)
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	err := a.store.change(entry{Do: "level", Subject: r.PathValue("subject"), Level: body.Compatibility})
	return map[string]string{"compatibility": body.Compatibility}, err
}

func (a *registryAPI) resetLevel(r *http.Request) (any, error) {
	name := r.PathValue("subject")
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	level := a.store.levels[name]
	if level == "" && name != "" {
		return nil, notFound(40408, "Subject '%s' does not have subject-level compatibility configured", name)
	}
	err := a.store.change(entry{Do: "level", Subject: name})
	return map[string]string{"compatibility": cmp.Or(level, defaultLevel)}, err
}

func (a *registryAPI) mode(*http.Request) (any, error) {
	return map[string]string{"mode": "READWRITE"}, nil
}

func (a *registryAPI) setMode(r *http.Request) (any, error) {
	var body struct {
		Mode string `json:"mode"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Mode != "READWRITE" {
		return nil, &apiError{http.StatusUnprocessableEntity, 42204, "Invalid mode. This registry has READWRITE only"}
	}
	return map[string]string{"mode": body.Mode}, nil
}
