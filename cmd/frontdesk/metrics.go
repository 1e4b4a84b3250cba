package main

import (
	"context"
	"net/http"
	"time"

	"frontdesk/bot/watch"
	"frontdesk/store"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// collector reads the numbers of every part when they are asked for.
type collector struct {
	store      *store.Store
	worker     *worker
	automation *automation
	memory     *watch.Memory
	own        []prometheus.Collector
}

func newCollector(s *store.Store, w *worker, a *automation, m *watch.Memory) *collector {
	return &collector{store: s, worker: w, automation: a, memory: m, own: []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}}
}

// Describe sends nothing: the set of metrics depends on what happened so far.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads every part once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, own := range c.own {
		own.Collect(out)
	}
	c.accounts(out)
	c.turns(out)
	c.providers(out)
	gauge(out, "memory_heap_bytes", "Heap in use.", float64(c.memory.HeapBytes()))
	gauge(out, "memory_rss_bytes", "Resident memory.", float64(c.memory.RSSBytes()))
	gauge(out, "memory_alarm", "1 while memory is above the alarm.", truth(c.memory.Alarm()))
	c.executions(out)
	c.webhooks(out)
	c.database(out)
}

func (c *collector) webhooks(out chan<- prometheus.Metric) {
	s := c.automation.intake.Stats()
	gauge(out, "limiter_keys", "Addresses and webhooks whose requests are counted, at most 50,000 of each (L23).", float64(s.LimiterKeys))
	gauge(out, "spool_bytes", "Bytes of uploads under way, at most 2 GiB.", float64(s.SpoolBytes))
	gauge(out, "uploads_active", "Uploads under way, at most 16.", float64(s.Uploads))
	gauge(out, "webhook_body_bytes", "Bytes of webhooks' bodies in memory, at most 128 MiB.", float64(s.HeldBytes))
	gauge(out, "webhook_waiting", "Callers that wait for a result, at most 1,000.", float64(s.Waiting))
	for result, n := range s.Results {
		counter(out, "webhook_requests_total", "Requests to webhooks by what came of them.", float64(n), "result", result)
	}
}

func (c *collector) executions(out chan<- prometheus.Metric) {
	s := c.automation.engine.Stats()
	gauge(out, "executions_active", "Executions that run here (L16).", float64(s.Running))
	h := c.automation.hub.Stats()
	gauge(out, "event_buffers", "Executions whose newest events are at hand (L18).", float64(h.Buffers))
	gauge(out, "event_buffer_bytes", "Bytes of these events (L19).", float64(h.BufferBytes))
	gauge(out, "sockets", "Clients that follow events, at most 1,000.", float64(h.Sockets))
	gauge(out, "socket_waiting_bytes", "Bytes that wait for all of them, at most 32 MiB (L29).", float64(h.WaitingBytes))
	counter(out, "sockets_slow_total", "Clients that were sent away because they read too slowly.", float64(h.Slow))
	d := c.automation.deliverer.Stats()
	gauge(out, "webhook_deliveries_active", "Deliveries to subscriptions under way.", float64(d.UnderWay))
	for result, n := range map[string]int64{"arrived": d.Arrived, "failed": d.Failed, "dead": d.Dead} {
		counter(out, "webhook_deliveries_total", "Tries of deliveries to subscriptions by how they ended; dead: given up.", float64(n), "result", result)
	}
	gauge(out, "executions_registered", "Executions that run here or ended a moment ago (L16, L17).", float64(s.Registered))
}

func (c *collector) accounts(out chan<- prometheus.Metric) {
	s := c.worker.manager.Stats()
	for status, n := range s.Accounts {
		gauge(out, "accounts", "Accounts of this process by status.", float64(n), "status", string(status))
	}
	gauge(out, "lease_owned", "Accounts whose lease this process has.", float64(s.Leases))
	gauge(out, "media_bytes_in_flight", "Bytes of files under way, either way (L29).", float64(s.MediaBytes))
	gauge(out, "subscribers", "Followers of the topics inside this process (L6).", float64(s.Subscribers))
	gauge(out, "ledger_recipients", "Recipients that the send ledger remembers (L2).", float64(s.LedgerPeople))
	gauge(out, "ledger_entries", "Messages that the send ledger remembers (L3).", float64(s.LedgerEntries))
	counter(out, "messages_received_total", "Customers' messages stored.", float64(s.Received))
	counter(out, "messages_sent_total", "Messages that WhatsApp acknowledged.", float64(s.Sent))
	counter(out, "messages_failed_total", "Messages given up.", float64(s.Failed))
	counter(out, "messages_undecryptable_total", "Messages whose sender was asked for another copy.", float64(s.Undecryptable))
	counter(out, "messages_dropped_total", "Messages dropped by a limit: always 0, limits defer.", 0)
}

func (c *collector) turns(out chan<- prometheus.Metric) {
	s := c.worker.turns.Stats()
	gauge(out, "turns_active", "Turns under way.", float64(s.Active))
	gauge(out, "turns_deferred", "Turns that wait for a place (L8).", float64(s.Deferred))
	gauge(out, "turns_waiting", "Conversations that wait for their time, at most 20,000 remembered.", float64(s.Waiting))
	gauge(out, "turns_abandoned", "Turns that did not end when they were cancelled (L10).", float64(s.Abandoned))
	summary(out, "turn_seconds", "How long turns took.", s.Finished, s.Took)
	summary(out, "reply_overhead_seconds", "How long turns took without the providers' time.", s.Finished, s.Overhead)
}

func (c *collector) providers(out chan<- prometheus.Metric) {
	for _, h := range c.worker.ai.Health() {
		gauge(out, "provider_usage_ratio", "How much of the tightest daily limit is taken.", h.Fill, "provider", h.Name)
		gauge(out, "breaker_state", "0 closed, 1 half-open, 2 open.", map[string]float64{"half-open": 1, "open": 2}[h.Breaker], "provider", h.Name)
		var calls int64
		for class, n := range h.Attempts {
			counter(out, "provider_attempts_total", "Calls by how they ended.", float64(n), "provider", h.Name, "class", string(class))
			calls += n
		}
		summary(out, "provider_seconds", "How long calls took.", calls, time.Duration(h.Seconds*float64(time.Second)), "provider", h.Name)
	}
}

func (c *collector) database(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if n, err := c.store.PendingOutbound(ctx); err == nil {
		gauge(out, "outbound_pending", "Messages that wait to be sent, of all processes.", float64(n))
	}
	if n, err := c.store.DraftsWaiting(ctx); err == nil {
		gauge(out, "drafts_waiting", "Answers of the bot that wait for a person, of all accounts.", float64(n))
	}
	if n, err := c.store.NewChats(ctx); err == nil {
		gauge(out, "new_chats_busiest", "Chats that the busiest account has begun in 24 hours.", float64(n))
	}
	if n, err := c.store.WaitingMedia(ctx); err == nil {
		gauge(out, "media_wanted", "Files that wait to be fetched, of all processes.", float64(n))
	}
	if queued, waiting, err := c.store.CountExecutions(ctx); err == nil {
		gauge(out, "executions_queued", "Executions that wait for a place, of all processes, at most 10,000.", float64(queued))
		gauge(out, "executions_waiting", "Executions that wait for time or a reply, of all processes.", float64(waiting))
	}
	if lags, err := c.store.Lags(ctx); err == nil {
		for _, l := range lags {
			gauge(out, "event_lag_seconds", "Age of the first event that was not read yet for everybody; they are kept for a day, and three days unread.", l.Behind.Seconds(), "reader", l.Name)
		}
	}
	if backlogs, err := c.store.DeliveryBacklogs(ctx, 0); err == nil {
		waiting, dead := 0, 0
		for _, b := range backlogs {
			waiting, dead = waiting+b.Waiting, dead+b.Dead
		}
		gauge(out, "deliveries_waiting", "Deliveries to subscriptions that wait, of all processes, at most 100,000 of each.", float64(waiting))
		gauge(out, "deliveries_dead", "Deliveries that were given up and can be replayed.", float64(dead))
	}
	used, limit := c.store.Connections()
	gauge(out, "database_connections_used", "Connections of the pool in use.", float64(used))
	gauge(out, "database_connections_limit", "Connections of the pool.", float64(limit))
}

func gauge(out chan<- prometheus.Metric, name, help string, value float64, labels ...string) {
	send(out, prometheus.GaugeValue, name, help, value, labels)
}

func counter(out chan<- prometheus.Metric, name, help string, value float64, labels ...string) {
	send(out, prometheus.CounterValue, name, help, value, labels)
}

// send emits one number; labels are names, each with its value behind it.
func send(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, value float64, labels []string) {
	names, values := pairs(labels)
	desc := prometheus.NewDesc("frontdesk_"+name, help, names, nil)
	out <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

// summary emits how often something happened and how long it took in all.
func summary(out chan<- prometheus.Metric, name, help string, count int64, took time.Duration, labels ...string) {
	names, values := pairs(labels)
	desc := prometheus.NewDesc("frontdesk_"+name, help, names, nil)
	out <- prometheus.MustNewConstSummary(desc, uint64(count), took.Seconds(), nil, values...)
}

func pairs(labels []string) (names, values []string) {
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return names, values
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// startMetrics serves /metrics on an address of its own, if there is one.
func startMetrics(ctx context.Context, c *chain, s *Settings, registry *prometheus.Registry) error {
	if s.MetricsListen == "" {
		return nil
	}
	listener, err := listen(ctx, s.MetricsListen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close below
	c.add("metrics", 100*time.Millisecond, func(context.Context) error { return server.Close() })
	return nil
}
