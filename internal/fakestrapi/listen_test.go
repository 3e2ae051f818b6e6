package fakestrapi

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServer_CloseDrains(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	server, err := r.Listen("127.0.0.1:0")
	require.NoError(t, err)
	deal := r.mustCreate(DealUID, nil)
	r.Faults.Set(
		Fault{Kind: FaultSlow, Delay: 100 * time.Millisecond, Documents: []string{deal.DocumentID}},
		Fault{Kind: FaultHang},
	)
	other := *r
	other.url = server.URL
	slow, hanging := make(chan error, 1), make(chan error, 1)
	go func() { _, err := other.try("GET", "/api/pipeline-deals/"+deal.DocumentID, "", token); slow <- err }()
	go func() { _, err := other.try("GET", "/api/pipeline-deals", "", token); hanging <- err }()
	require.Eventually(t, func() bool { return r.Requests.Counts().Total() == 2 }, time.Minute, time.Millisecond)

	require.NoError(t, server.Close(context.Background()))

	require.NoError(t, <-slow, "a request under way is finished")
	require.Error(t, <-hanging)
	_, err = net.DialTimeout("tcp", strings.TrimPrefix(server.URL, "http://"), time.Second)
	require.Error(t, err, "the port is free")
	again, err := r.Listen(strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	require.NoError(t, again.Close(context.Background()))
	_, err = r.Listen("127.0.0.1:99999")
	require.ErrorContains(t, err, "listen for the fake Strapi")
}
