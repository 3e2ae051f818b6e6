package health

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
)

func TestEvaluate_Limits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Measurement)
		want   Status
	}{
		"Fine":                 {func(*Measurement) {}, Healthy},
		"PendingFiveMinutes":   {func(m *Measurement) { m.Overview.OldestPendingAgeSeconds = 300 }, Healthy},
		"PendingLonger":        {func(m *Measurement) { m.Overview.OldestPendingAgeSeconds = 300.001 }, Degraded},
		"SkewTwoSeconds":       {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(2 * time.Second) }, Healthy},
		"SkewAhead":            {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(-2001 * time.Millisecond) }, Degraded},
		"SkewBehind":           {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(2001 * time.Millisecond) }, Degraded},
		"EnoughDaysAhead":      {func(m *Measurement) { m.Overview.PartitionDaysAhead = MinPartitionDays }, Healthy},
		"FewDaysAhead":         {func(m *Measurement) { m.Overview.PartitionDaysAhead = MinPartitionDays - 1 }, Degraded},
		"OnlyToday":            {func(m *Measurement) { m.Overview.PartitionDaysAhead = 0 }, Degraded},
		"NotEvenToday":         {func(m *Measurement) { m.Overview.PartitionDaysAhead = -1 }, Unhealthy},
		"Dead":                 {func(m *Measurement) { m.Overview.Dead, m.Overview.DeadDocuments = 1, 1 }, Degraded},
		"Quarantined":          {func(m *Measurement) { m.Overview.Quarantined = 9 }, Healthy},
		"TokenRefused":         {func(m *Measurement) { m.Overview.TokenRefused = true }, Degraded},
		"BreakerHalfOpen":      {func(m *Measurement) { m.Breaker.State = circuit.HalfOpen }, Degraded},
		"BreakerUnknown":       {func(m *Measurement) { m.Breaker = nil }, Degraded},
		"ChannelFails":         {func(m *Measurement) { m.Overview.FailingChannels = []string{"webhook"} }, Degraded},
		"NotificationFailed":   {func(m *Measurement) { *m.FailedNotifications = 1 }, Healthy},
		"NotificationsUnknown": {func(m *Measurement) { m.FailedNotifications = nil }, Degraded},
		"ReconcileFails":       {func(m *Measurement) { m.Reconciliation.Failing = true }, Degraded},
		"ReconcileInTime":      {func(m *Measurement) { m.Reconciliation.IdleSeconds = 16 * 60 }, Healthy},
		"ReconcileOverdue":     {func(m *Measurement) { m.Reconciliation.IdleSeconds = 16*60 + 1 }, Degraded},
		"ReconcileUnknown":     {func(m *Measurement) { m.Reconciliation = nil }, Degraded},
		"NoDatabase":           {func(m *Measurement) { *m = Measurement{At: m.At} }, Unhealthy},
		"DeadWithoutEvent":     {func(m *Measurement) { m.Overview.DeadDocuments = 45 }, Degraded},
		"PendingDocuments":     {func(m *Measurement) { m.Overview.PendingDocuments = 9 }, Healthy},
		"DeadAndNoPartition":   {func(m *Measurement) { m.Overview.DeadDocuments, m.Overview.PartitionDaysAhead = 1, -1 }, Unhealthy},
		"ReadOnly":             {func(m *Measurement) { m.Overview.ReadOnly = true }, Unhealthy},
		"DiskFull":             {func(m *Measurement) { m.Ready = notReady(&pgconn.PgError{Code: "53100"}) }, Unhealthy},
		"InboxLocked":          {func(m *Measurement) { m.Ready = notReady(&pgconn.PgError{Code: "55P03"}) }, Unhealthy},
		"CommitRefused":        {func(m *Measurement) { m.Ready = notReady(&pgconn.PgError{Code: "42501"}) }, Unhealthy},
		"OpenCritical":         {func(m *Measurement) { m.Episodes = open("signature_failures", "critical", "firing") }, Degraded},
		"OpenError":            {func(m *Measurement) { m.Episodes = open("strapi_unusable", "error", "firing") }, Degraded},
		"OpenAcknowledged":     {func(m *Measurement) { m.Episodes = open("strapi_unusable", "error", "acknowledged") }, Degraded},
		"OpenSilenced":         {func(m *Measurement) { m.Episodes = open("strapi_unusable", "error", "suppressed") }, Degraded},
		"OpenWarning":          {func(m *Measurement) { m.Episodes = open("lost_webhooks", "warning", "firing") }, Healthy},
		"EpisodesUnknown":      {func(m *Measurement) { m.Episodes = nil }, Degraded},
		"BreakerForcedOpen":    {func(m *Measurement) { m.Breaker.State, m.Breaker.Forced = circuit.Open, true }, Degraded},
		"BreakerForcedClosed":  {func(m *Measurement) { m.Breaker.Forced = true }, Degraded},
		"GuardTripped":         {func(m *Measurement) { m.Reconciliation.GuardTripped = true }, Degraded},
		"NoWebhookEver":        {func(m *Measurement) { m.Overview.Received = 0 }, Healthy},
		"NoChannel":            {func(m *Measurement) { m.sources.Channels = []string{} }, Healthy},
		"ReadsIncomplete":      {func(m *Measurement) { m.Err = errors.New("no such table") }, Degraded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := fine()
			c.change(&m)
			report := Evaluate(m)
			require.Equal(t, c.want, report.Status)
			require.Contains(t, report.Checks, "postgres:latency")
			if report.Status != Healthy && name != "EpisodesUnknown" && !strings.HasSuffix(name, "Unknown") {
				require.Equal(t, report.Status, report.Problems[0].Status, "the worst is said first, and it says why")
			}
			for _, p := range report.Problems {
				require.NotEmpty(t, p.Title)
				require.NotEmpty(t, p.First, p.Title)
			}
		})
	}
}

// fine is what an installation shows with which nothing is wrong.
func fine() Measurement {
	now := time.Now()
	return Measurement{
		At: now, Overview: &dbsqlc.HealthOverviewRow{DatabaseNow: now, PartitionDaysAhead: 14, Received: 1},
		Breaker: &circuit.Snapshot{State: circuit.Closed}, FailedNotifications: new(int64),
		Reconciliation: &dbsqlc.ReconciliationStateRow{}, Episodes: &[]dbsqlc.HealthEpisodesRow{},
		sources: Sources{
			ReconcileInterval: 2 * time.Minute, Channels: []string{"webhook"},
			Rules: Rules{
				Of:       map[string]string{"ledger:dead": "event_dead_lettered", "strapi:forced": "breaker_opened"},
				Describe: func(rule string) (means, first string) { return "what " + rule + " means", "do this" },
			},
		},
	}
}

func open(rule, level, status string) *[]dbsqlc.HealthEpisodesRow {
	return &[]dbsqlc.HealthEpisodesRow{{ID: 7, Rule: rule, Level: level, Status: status, Message: "m", Open: 1}}
}

func TestEvaluate_ProblemsAreInWordsTheWorstFirst(t *testing.T) {
	t.Parallel()
	m := fine()
	require.Empty(t, Evaluate(m).Problems)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m.Overview.Received = 0
	m.Overview.DeadDocuments = 45
	m.Breaker.Forced, m.Breaker.ChangedBy, m.Breaker.Reason, m.Breaker.ChangedAt = true, "ada", "load test", at
	m.Episodes = &[]dbsqlc.HealthEpisodesRow{
		{ID: 1, Rule: "signature_failures", Subject: "wrong_secret", Level: "critical", Status: "suppressed", Message: "all are refused", FirstSeen: at},
		{ID: 2, Rule: "event_dead_lettered", Subject: "billings", Level: "error", Status: "firing", Message: "45 billings", FirstSeen: at},
		{ID: 3, Rule: "lost_webhooks", Level: "warning", Status: "firing", Message: "88 lost", FirstSeen: at},
	}
	problems := Evaluate(m).Problems
	var titles []string
	for _, p := range problems {
		titles = append(titles, p.Title)
	}
	require.Equal(t, []string{
		"What signature_failures means (wrong_secret)", "45 documents are dead letters", "An operator holds the circuit breaker closed",
		"No webhook has ever come", "What lost_webhooks means",
	}, titles)
	require.Equal(t, Problem{
		Status: Degraded, Title: titles[0], Message: "all are refused", First: "do this",
		AlertID: 1, Rule: "signature_failures", Subject: "wrong_secret", Level: "critical", State: "suppressed", Since: &at,
	}, problems[0])
	require.Equal(t, "45 billings", problems[1].Message, "the episode has the better words")
	require.Equal(t, "ledger:dead", problems[1].Check)
	require.Contains(t, problems[2].Message, "Held by ada since 2026-01-02T03:04:05Z: load test.")
	require.Equal(t, &at, problems[2].Since)
}

// A cause comes before its effects, although an effect may have the higher level.
func TestEvaluate_CausesComeFirst(t *testing.T) {
	t.Parallel()
	m := fine()
	m.sources.Rules.Of["reconciliation:last_run"] = "reconciliation_failing"
	m.sources.Rules.Explains = func(rule string) []string {
		return map[string][]string{"strapi_unusable": {"oldest_pending", "reconciliation_failing"}}[rule]
	}
	m.Reconciliation.Failing = true
	m.Episodes = &[]dbsqlc.HealthEpisodesRow{
		{ID: 1, Rule: "oldest_pending", Level: "critical", Status: "suppressed"},
		{ID: 2, Rule: "reconciliation_failing", Subject: "billings", Level: "error", Status: "firing"},
		{ID: 3, Rule: "reconciliation_failing", Subject: "pipeline-deals", Level: "error", Status: "firing"},
		{ID: 4, Rule: "strapi_unusable", Level: "error", Status: "firing"},
		{ID: 5, Rule: "signature_failures", Level: "warning", Status: "firing"},
	}
	var ids []int64
	for _, p := range Evaluate(m).Problems {
		ids = append(ids, p.AlertID)
	}
	require.Equal(t, []int64{4, 1, 2, 3, 5}, ids)
}

// While an operator holds the breaker open, its alert is open, too: one problem, in the
// operator's words.
func TestEvaluate_ForcedBreakerIsOneProblem(t *testing.T) {
	t.Parallel()
	m := fine()
	m.Breaker.State, m.Breaker.Forced, m.Breaker.ChangedBy, m.Breaker.Reason = circuit.Open, true, "ada", "upgrade"
	m.Episodes = open("breaker_opened", "critical", "firing")
	problems := Evaluate(m).Problems
	require.Len(t, problems, 1)
	require.Equal(t, "An operator holds the circuit breaker open", problems[0].Title)
	require.Contains(t, problems[0].Message, "Held by ada")
	require.Contains(t, problems[0].First, "dealbox breaker reset")
	require.EqualValues(t, 7, problems[0].AlertID)
}
