package app

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDelivery_SendCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Delivery{}.Send(ctx, "http://127.0.0.1:1")
	require.ErrorIs(t, err, context.Canceled)
}
