package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"dealbox/internal/httpclient"
	"dealbox/internal/webhooksig"
)

// WebhookPath is where the service accepts webhooks.
const WebhookPath = "/api/v1/webhooks/strapi"

const (
	// sendTimeout is longer than the 8 s within which the service answers.
	sendTimeout = 15 * time.Second
	// maxAnswer is how many bytes of an answer are read.
	maxAnswer = 64 << 10
)

// Delivery is a signed webhook.
type Delivery struct {
	Headers http.Header // all but the length
	Body    []byte
}

// SignDelivery signs a body with the first secret of the settings.
func SignDelivery(c WebhookConfig, scheme webhooksig.Scheme, body []byte) (Delivery, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Delivery{}, fmt.Errorf("make a delivery id: %w", err)
	}
	headers, err := webhooksig.Sign(scheme, c.Secrets[0].Reveal(), "msg_"+id.String(), time.Now(), body)
	if err != nil {
		return Delivery{}, fmt.Errorf("sign the body: %w", err)
	}
	headers.Set("Content-Type", "application/json")
	return Delivery{headers, body}, nil
}

// Answer of the receiver of a Delivery.
type Answer struct {
	Code   int
	Status string // such as 202 Accepted
	Body   string // at most 64 KiB
}

// Send posts the delivery once. A target without a path gets WebhookPath. Send does not
// follow redirects: they would turn the delivery into a GET.
func (d Delivery) Send(ctx context.Context, target string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, withWebhookPath(target), bytes.NewReader(d.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("send the delivery: %w", err)
	}
	request.Header = d.Headers
	response, err := httpclient.New(nil).Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("send the delivery: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	answer := Answer{response.StatusCode, response.Status, string(body)}
	if err != nil {
		return answer, fmt.Errorf("read the answer (%s): %w", response.Status, err)
	}
	return answer, nil
}

func withWebhookPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || (u.Path != "" && u.Path != "/") {
		return target
	}
	u.Path = WebhookPath
	return u.String()
}
