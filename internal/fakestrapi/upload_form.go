package fakestrapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
)

// form is the body of POST /api/upload: multipart, or JSON without files.
type form struct {
	files []upload
	// fields are what it has as fileInfo: text in a form, any value in JSON.
	fields []json.RawMessage
}

func readForm(r *http.Request) (form, error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body := http.MaxBytesReader(nil, r.Body, maxBody)
	switch kind {
	case "multipart/form-data":
		return readParts(multipart.NewReader(body, params["boundary"]))
	case "application/json":
		var f struct{ FileInfo json.RawMessage }
		if err := json.NewDecoder(body).Decode(&f); err != nil && !errors.Is(err, io.EOF) {
			return form{}, rejected("the body cannot be read: %v", err)
		}
		if f.FileInfo == nil {
			return form{}, nil
		}
		return form{fields: []json.RawMessage{f.FileInfo}}, nil
	}
	return form{}, nil
}

func readParts(parts *multipart.Reader) (form, error) {
	var f form
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return form{}, rejected("the form cannot be read: %v", err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return form{}, rejected("the form cannot be read: %v", err)
		}
		f.add(part, content)
	}
}

// add takes a part. One without a type is a field, even where it has a file's name.
func (f *form) add(part *multipart.Part, content []byte) {
	kind := part.Header.Get("Content-Type")
	_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	switch name, isFile := params["filename"]; {
	case params["name"] == "files" && isFile && kind != "":
		f.files = append(f.files, upload{name: name, mime: kind, size: int64(len(content))})
	case params["name"] == "fileInfo":
		f.fields = append(f.fields, encodeString(string(content)))
	}
}

// infos are what the form says about each of its files: a fileInfo for each, or
// one that is a list. There may be fewer, and none at all.
func (f form) infos() ([]fileInfo, error) {
	values := make([]json.RawMessage, 0, len(f.fields))
	for _, field := range f.fields {
		value, isJSON := unquoted(field)
		if !isJSON {
			return nil, internalError() // Strapi parses it before it checks it
		}
		values = append(values, value)
	}
	if len(values) == 1 {
		var all []json.RawMessage
		isList := json.Unmarshal(values[0], &all) == nil
		if isList {
			values = all
		} else if len(f.files) > 1 {
			return nil, notInfo("array", values[0])
		}
	}
	if len(values) > 1 && len(f.files) == 1 {
		return nil, notInfo("object", list(values))
	}
	infos := make([]fileInfo, len(f.files))
	for i, value := range values[:min(len(values), len(infos))] {
		if problem := infos[i].read(value, value); problem != nil {
			return nil, problem
		}
	}
	return infos, nil
}

// info is what a form without files says about the one that it names.
func (f form) info() (fileInfo, error) {
	var info fileInfo
	if len(f.fields) > 1 {
		return info, notInfo("object", list(f.fields))
	}
	for _, field := range f.fields {
		value, _ := unquoted(field)
		told := value
		if field[0] == '"' {
			told = slices.Concat([]byte(`"`), value, []byte(`"`))
		}
		if problem := info.read(value, told); problem != nil {
			return info, problem
		}
	}
	return info, nil
}

// unquoted is the value of a field: a form has JSON as text.
func unquoted(field json.RawMessage) (value json.RawMessage, isJSON bool) {
	var text string
	if json.Unmarshal(field, &text) != nil {
		return field, true
	}
	return json.RawMessage(text), json.Valid([]byte(text))
}

// read takes what Strapi knows of a fileInfo; it leaves out the rest, and makes
// text of numbers. told is what an error calls the value.
func (i *fileInfo) read(raw, told json.RawMessage) *Error {
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil {
		return notInfo("object", told)
	}
	for name, text := range map[string]**string{"name": &i.name, "alternativeText": &i.alternativeText, "caption": &i.caption} {
		value := compact(values[name])
		switch {
		case len(value) == 0 || string(value) == "null":
		case value[0] == '{' || value[0] == '[':
			return invalidAt([]string{"fileInfo", name}, value,
				"fileInfo."+name+" must be a `string` type, but the final value was: `"+string(value)+"`.")
		default:
			var s string
			if json.Unmarshal(value, &s) != nil {
				s = string(value)
			}
			*text = &s
		}
	}
	if value := compact(values["focalPoint"]); len(value) > 0 && value[0] == '{' {
		i.focalPoint = value
	}
	return nil
}

// notInfo is the answer to a fileInfo of another kind.
func notInfo(kind string, value []byte) *Error {
	return invalidAt([]string{"fileInfo"}, nil,
		"fileInfo must be a `"+kind+"` type, but the final value was: `null` (cast from the value `"+string(value)+"`).")
}
