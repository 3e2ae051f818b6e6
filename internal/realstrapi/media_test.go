package realstrapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/stretchr/testify/require"
)

var note = file{"note.txt", "text/plain", "a file"}

// media returns the steps with the media library of the real Strapi. Its files are no images: Strapi
// makes smaller ones of those.
func media() []step {
	return append(mediaWrites(), mediaRefusals()...)
}

func mediaWrites() []step {
	return []step{
		{name: "list no files", do: func(s *session) { s.rest(http.MethodGet, "/api/upload/files", "") }},
		{name: "upload a file", do: func(s *session) { s.upload("note", nil, note) }},
		{name: "upload a file and say something about it", do: func(s *session) {
			s.upload("said", infos(`{"name":"Renamed.txt","alternativeText":"alt – ไทย","caption":"cap","nothing":1}`), file{"b c.txt", "text/plain", strings.Repeat("x", 1234)})
		}},
		{name: "upload a file whose type is another than its name says", do: func(s *session) {
			s.upload("odd", nil, file{"odd.txt", "application/json", "{}"})
		}},
		{name: "upload a file without an extension", do: func(s *session) { s.upload("bare", nil, file{"README", "text/plain", "read me"}) }},
		{name: "upload a file of no known type", do: func(s *session) {
			s.upload("bin", infos(`{"caption":5,"focalPoint":{"x":10,"y":20}}`), file{"data.bin", "application/octet-stream", "abc"})
		}},
		// The same file twice: which of two is the first varies.
		{name: "upload two files", inTurn: true, do: func(s *session) {
			s.form("full", "/api/upload", infos(`{"caption":"of the first"}`, `{"caption":"of the second"}`), note, note)
		}},
		{name: "upload two files with a list of what to say", inTurn: true, do: func(s *session) {
			s.form("full", "/api/upload", infos(`[{"caption":"of the first"},{"caption":"of the second"}]`), note, note)
		}},
		{name: "read files", do: func(s *session) {
			s.rest(http.MethodGet, "/api/upload/files/$said", "")
			s.rest(http.MethodGet, "/api/upload/files/$said?fields[0]=name", "")
			s.ask("read", http.MethodGet, "/api/upload/files/$said", "")
			s.rest(http.MethodGet, "/api/upload/files?sort=id&fields[0]=name&pagination[pageSize]=2", "")
			s.rest(http.MethodGet, "/api/upload/files?filters[name][$eq]=Renamed.txt", "")
			s.ask("read", http.MethodGet, "/api/upload/files?filters[name]=nobody", "")
		}},
		{name: "say something else about a file, in a form", do: func(s *session) {
			s.form("full", "/api/upload?id=$note", infos(`{"name":"changed.txt","caption":"now"}`))
		}},
		{name: "say something else about a file, in JSON", do: func(s *session) {
			s.ask("full", http.MethodPost, "/api/upload?id=$note", `{"fileInfo":{"alternativeText":"","caption":null}}`)
		}},
		{name: "say the same about a file", do: func(s *session) { s.ask("full", http.MethodPost, "/api/upload?id=$note", `{"fileInfo":{}}`) }},
		{name: "say nothing about a file", do: func(s *session) { s.form("full", "/api/upload?id=$note", nil) }},
		{name: "replace a file", do: func(s *session) {
			s.form("full", "/api/upload?id=$bin", infos(`{"caption":"replaced"}`), file{"new.csv", "text/csv", "a,b\n1,2\n"})
		}},
		{name: "delete a file", do: func(s *session) { s.rest(http.MethodDelete, "/api/upload/files/$said", "") }},
		{name: "delete the file again", do: func(s *session) { s.rest(http.MethodDelete, "/api/upload/files/$said", "") }},
		{name: "upload, change and delete a file", inTurn: true, do: func(s *session) {
			s.upload("short", nil, file{"short.txt", "text/plain", "short"})
			s.ask("full", http.MethodPost, "/api/upload?id=$short", `{"fileInfo":{"caption":"soon gone"}}`)
			s.rest(http.MethodDelete, "/api/upload/files/$note", "")
			s.rest(http.MethodDelete, "/api/upload/files/$short", "")
		}},
	}
}

// mediaRefusals returns the requests that the media library refuses.
func mediaRefusals() []step {
	form := func(name, token, path string, info []string, files ...file) step {
		return step{name: "media: " + name, do: func(s *session) { s.form(token, path, info, files...) }}
	}
	as := func(token, method, path, body string) step {
		return step{name: method + " " + path + " " + body + " token " + token, do: func(s *session) { s.ask(token, method, path, body) }}
	}
	return []step{
		form("a form without a file", "full", "/api/upload", infos(`{"caption":"x"}`)),
		form("an empty file", "full", "/api/upload", nil, file{"empty.txt", "text/plain", ""}),
		form("a name that is none", "full", "/api/upload", nil, file{"a:b.txt", "text/plain", "a"}),
		form("a name with a path", "full", "/api/upload", nil, file{"../b.txt", "text/plain", "a"}),
		form("no JSON about a new file", "full", "/api/upload", infos(`{"caption":`), note),
		form("no JSON about a file", "full", "/api/upload?id=$bin", infos(`{"caption":`)),
		form("text about a file", "full", "/api/upload?id=$bin", infos(`"x"`)),
		form("two files in the place of one", "full", "/api/upload?id=$bin", nil, note, note),
		form("a file in the place of none", "full", "/api/upload?id=999", nil, note),
		form("a new file, no token", "none", "/api/upload", nil, note),
		form("a new file, bad token", "bad", "/api/upload", nil, note),
		form("a new file, read-only token", "read", "/api/upload", nil, note),
		form("a new file, read-only token, no file", "read", "/api/upload", nil),
		as("full", "POST", "/api/upload", `{"fileInfo":{"caption":"x"}}`),
		as("full", "POST", "/api/upload", ""),
		as("full", "POST", "/api/upload?id=999", `{"fileInfo":{"caption":"x"}}`),
		as("full", "POST", "/api/upload?id=abc", `{"fileInfo":{"caption":"x"}}`),
		as("full", "POST", "/api/upload?id=1&id=2", `{"fileInfo":{"caption":"x"}}`),
		as("read", "POST", "/api/upload?id=$bin", `{"fileInfo":{"caption":"x"}}`),
		as("none", "POST", "/api/upload?id=$bin", `{"fileInfo":{"caption":"x"}}`),
		as("full", "GET", "/api/upload", ""),
		as("full", "GET", "/api/upload/nothing", ""),
		as("full", "POST", "/api/upload/files", "{}"),
		as("full", "PUT", "/api/upload/files/$bin", "{}"),
		as("full", "GET", "/api/upload/files/999", ""),
		as("full", "GET", "/api/upload/files/-1", ""),
		as("full", "GET", "/api/upload/files/abc", ""),
		as("full", "GET", "/api/upload/files/$bin/2", ""),
		as("none", "GET", "/api/upload/files/$bin", ""),
		as("none", "GET", "/api/upload/files", ""),
		as("full", "GET", "/api/upload/files?filters[nothing][$eq]=1", ""),
		as("full", "GET", "/api/upload/files?sort=nothing", ""),
		as("full", "DELETE", "/api/upload/files/999", ""),
		as("full", "DELETE", "/api/upload/files/abc", ""),
		as("full", "DELETE", "/api/upload/files", ""),
		as("read", "DELETE", "/api/upload/files/$bin", ""),
		as("none", "DELETE", "/api/upload/files/$bin", ""),
	}
}

// file is one that is uploaded.
type file struct{ name, kind, content string }

func infos(list ...string) []string { return list }

// upload makes a file and gives it a name: $name is its number.
func (s *session) upload(name string, info []string, f file) {
	s.t.Helper()
	answer := s.form("full", "/api/upload", info, f)
	var files []struct{ ID int }
	require.NoError(s.t, json.Unmarshal([]byte(answer), &files), answer)
	s.ids[name] = fmt.Sprint(files[0].ID)
}

// form posts files, and what is said about them, and notes the answer.
func (s *session) form(token, path string, info []string, files ...file) string {
	s.t.Helper()
	var b bytes.Buffer
	form, parts := multipart.NewWriter(&b), []string{}
	add := func(disposition, kind, content string) {
		header := textproto.MIMEHeader{"Content-Disposition": {disposition}}
		if kind != "" {
			header.Set("Content-Type", kind)
		}
		part, err := form.CreatePart(header)
		require.NoError(s.t, err)
		_, err = io.WriteString(part, content)
		require.NoError(s.t, err)
	}
	for _, f := range files {
		add(fmt.Sprintf(`form-data; name="files"; filename=%q`, f.name), f.kind, f.content)
		parts = append(parts, fmt.Sprintf("%s (%s, %d bytes)", f.name, f.kind, len(f.content)))
	}
	for _, i := range info {
		add(`form-data; name="fileInfo"`, "", i)
		parts = append(parts, i)
	}
	require.NoError(s.t, form.Close())
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url()+s.expand(path, ""), &b)
	require.NoError(s.t, err)
	request.Header.Set("Content-Type", form.FormDataContentType())
	return s.send(request, token, "POST "+path+" form ["+strings.Join(parts, ", ")+"]")
}
