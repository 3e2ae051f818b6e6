package realstrapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Answer is an HTTP answer of Strapi.
type Answer struct {
	Status int
	Body   []byte
}

// jwt is the administrator's, made at the first use. Strapi takes 5 logins in 5
// minutes, so there is one.
type jwt struct {
	once  sync.Once
	value string
	err   error
}

// REST sends a request to the REST API (a path such as /api/billings) with the token
// of the seed, which may write. A nil body sends none.
func (s *Strapi) REST(ctx context.Context, method, path string, body any) (Answer, error) {
	token, err := s.Setting("STRAPI_SEED_TOKEN")
	if err != nil {
		return Answer{}, err
	}
	return s.Request(ctx, method, path, token, body)
}

// Admin sends a request to the API behind Strapi's panel (a path such as
// /content-manager/…) as the administrator.
func (s *Strapi) Admin(ctx context.Context, method, path string, body any) (Answer, error) {
	s.jwt.once.Do(func() { s.jwt.value, s.jwt.err = s.login(ctx) })
	if s.jwt.err != nil {
		return Answer{}, s.jwt.err
	}
	return s.Request(ctx, method, path, s.jwt.value, body)
}

func (s *Strapi) login(ctx context.Context) (string, error) {
	email, err := s.Setting("ADMIN_EMAIL")
	if err != nil {
		return "", err
	}
	password, err := s.Setting("ADMIN_PASSWORD")
	if err != nil {
		return "", err
	}
	answer, err := s.Request(ctx, http.MethodPost, "/admin/login", "", map[string]string{"email": email, "password": password})
	if err != nil {
		return "", err
	}
	var login struct{ Data struct{ Token string } }
	if err := json.Unmarshal(answer.Body, &login); err != nil || login.Data.Token == "" {
		return "", fmt.Errorf("log in to Strapi: status %d", answer.Status)
	}
	return login.Data.Token, nil
}

// Request sends a request with any token; "" sends none. A body of type
// json.RawMessage or any other value is sent as JSON.
func (s *Strapi) Request(ctx context.Context, method, path, token string, body any) (Answer, error) {
	content, contentType, err := encode(body)
	if err != nil {
		return Answer{}, fmt.Errorf("request Strapi: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, content)
	if err != nil {
		return Answer{}, fmt.Errorf("request Strapi: %w", err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("request Strapi: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("request Strapi: read the answer to %s %s: %w", method, path, err)
	}
	return Answer{response.StatusCode, answer}, nil
}

func encode(body any) (content io.Reader, contentType string, err error) {
	if body == nil {
		return nil, "", nil
	}
	encoded, err := json.Marshal(body)
	return bytes.NewReader(encoded), "application/json", err
}
