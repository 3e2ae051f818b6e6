package inbox

// The SQL of lists and replays. It stands here and not in db/queries because
// the filter decides where a statement starts: a page of what is pending or
// dead took 7 s at three million events when it filtered the view, and 8 ms when it
// starts from entity_sync. All parts are constants; values are named arguments.

const (
	// fromAll reads the partitions of the days that the statement names.
	fromAll = ` FROM inbox_event_status e WHERE true`

	// fromOpen starts from the documents that are behind, of which there are few.
	// The view's rule, for them: behind is dead or pending.
	fromOpen = ` FROM (
	SELECT v.*, CASE s.state WHEN 'dead' THEN 'dead' ELSE 'pending' END AS status
	FROM entity_sync s
	CROSS JOIN LATERAL (SELECT * FROM inbox_event o
		WHERE o.uid = s.uid AND o.document_id = s.document_id AND o.locale = s.locale AND o.seq > s.done_seq) v
	WHERE s.done_seq < s.want_seq
) e WHERE true`

	// fromAside reads what was ignored or quarantined, through its own small index.
	fromAside = ` FROM inbox_event_status e WHERE e.seq IS NULL`

	// fromDocument finds one document's events. Its indexes start with the uid, of
	// which there are few, so those are listed first (a loose index scan).
	fromDocument = ` FROM (
	WITH RECURSIVE known AS (
		(SELECT uid FROM entity_sync ORDER BY uid LIMIT 1)
		UNION ALL
		SELECT (SELECT s.uid FROM entity_sync s WHERE s.uid > k.uid ORDER BY s.uid LIMIT 1) FROM known k WHERE k.uid IS NOT NULL
	)
	SELECT v.* FROM known k
	CROSS JOIN LATERAL (SELECT * FROM inbox_event_status o
		WHERE o.uid = k.uid AND o.document_id = @document_id AND o.seq IS NOT NULL) v
	UNION ALL
	SELECT * FROM inbox_event_status o WHERE o.document_id = @document_id AND o.seq IS NULL
) e WHERE true`

	// chosen is the filter. The days are bounded too, so that only their partitions are read.
	chosen = `
	AND (@event::text = '' OR e.event = @event)
	AND (@entity::text = '' OR e.model = @entity OR e.uid = @entity)
	AND (@document_id::text = '' OR e.document_id = @document_id)
	AND e.received_at >= @since::timestamptz AND e.received_at < @until::timestamptz
	AND e.received_on BETWEEN @first_day::date AND @last_day::date
	AND e.status = ANY (@statuses::text[])`

	listColumns = `SELECT e.id, e.received_on, e.received_at, e.scheme, coalesce(e.event, '') AS event, coalesce(e.uid, '') AS uid,
	coalesce(e.model, '') AS model, coalesce(e.document_id, '') AS document_id, coalesce(e.locale, '') AS locale,
	e.sent_at, e.seq, coalesce(e.quarantine_reason, '') AS quarantine_reason, e.status`

	page = `
	AND (e.received_on, e.id) < (@before_on::date, @before_id::uuid)
ORDER BY e.received_on DESC, e.id DESC
LIMIT @max_rows`

	listAll      = listColumns + fromAll + chosen + page
	listOpen     = listColumns + fromOpen + chosen + page
	listAside    = listColumns + fromAside + chosen + page
	listDocument = listColumns + fromDocument + chosen + page

	// A replay needs each document once, and how many of the events are about it.
	documentColumns = `SELECT e.uid, e.document_id, e.locale, count(*) AS events`
	byDocument      = `
	AND e.seq IS NOT NULL
GROUP BY e.uid, e.document_id, e.locale
ORDER BY e.uid COLLATE "C", e.document_id COLLATE "C", e.locale COLLATE "C"`

	documentsAll      = documentColumns + fromAll + chosen + byDocument
	documentsOpen     = documentColumns + fromOpen + chosen + byDocument
	documentsDocument = documentColumns + fromDocument + chosen + byDocument

	// Documents that are behind and of which no event waits: after the first load, a
	// reconciliation or a replay. Their time is since when they wait.
	documentsWithoutEvent = `SELECT s.uid, s.document_id, s.locale, 0::bigint AS events
FROM entity_sync s
WHERE s.done_seq < s.want_seq AND s.events = s.events_done
	AND (CASE s.state WHEN 'dead' THEN 'dead' ELSE 'pending' END) = ANY (@statuses::text[])
	AND (@entity::text = '' OR s.uid = @entity OR substring(s.uid FROM '[^.]*$') = @entity)
	AND (@document_id::text = '' OR s.document_id = @document_id)
	AND coalesce(s.pending_since, s.dead_at, now()) >= @since::timestamptz AND coalesce(s.pending_since, s.dead_at, now()) < @until::timestamptz`

	// Ignored and quarantined events are read again from their bytes.
	asideBodies = `SELECT e.body` + fromAside + chosen
)

// listSQL returns the statement that fits the filter.
func (f Filter) listSQL() string {
	switch {
	case f.only(StatusPending, StatusDead):
		return listOpen
	case f.DocumentID != "":
		return listDocument
	case f.only(StatusIgnored, StatusQuarantined):
		return listAside
	}
	return listAll
}

// documentsSQL returns the statement of a replay that fits the filter; "" when the
// filter excludes every event with a seq.
func (f Filter) documentsSQL() string {
	switch {
	case f.only(StatusPending, StatusDead):
		return documentsOpen
	case f.only(StatusIgnored, StatusQuarantined):
		return ""
	case f.DocumentID != "":
		return documentsDocument
	}
	return documentsAll
}
