package metrics

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// notCounted are hooks without an instrument, with the reason.
var notCounted = map[string]string{}

// TestEveryHookIsFilled finds hooks that were added without an instrument.
func TestEveryHookIsFilled(t *testing.T) {
	m := New()
	var visit func(name string, v reflect.Value)
	visit = func(name string, v reflect.Value) {
		for i := range v.NumField() {
			field := name + "." + v.Type().Field(i).Name
			switch f := v.Field(i); f.Kind() {
			case reflect.Struct:
				visit(field, f)
			case reflect.Func:
				if f.IsNil() != (notCounted[field] != "") {
					t.Errorf("%s: filled %v; notCounted says %q", field, !f.IsNil(), notCounted[field])
				}
			default:
			}
		}
	}
	for name, hooks := range map[string]any{
		"gateway": m.Gateway("g"), "service": m.Service("s"), "backplane": m.Backplane(), "push": m.Push(), "quota": m.Quota(),
	} {
		visit(name, reflect.ValueOf(hooks))
	}
}

func TestPushAndQuota(t *testing.T) {
	m := New()
	p, q := m.Push(), m.Quota()
	p.Sent(wire.TargetUser, push.Result{Unanswered: []string{"a", "b"}}, time.Second)
	p.Fanned(wire.TargetUser, 5, 3, 1, time.Millisecond)
	p.Dropped(wire.DropSlow, 2)
	p.Forgot(9)
	p.Looked(2, time.Millisecond, errors.New("away"))
	p.Shown(4, time.Millisecond)
	p.Present(3, 2)
	q.Call(7, time.Millisecond, errors.New("away"))
	q.Call(7, time.Millisecond, nil)
	q.Untracked()
	for name, want := range map[string]float64{
		"boreas_push_unanswered_gateways_total": 2, "boreas_push_sockets_targeted_total": 5,
		"boreas_push_sockets_delivered_total": 3, "boreas_push_sockets_dropped_total": 2,
		"boreas_push_presence_joins_total": 3, "boreas_push_presence_leaves_total": 2,
		"boreas_push_lookup_failures_total": 1, "boreas_push_unsure_gateways_total": 2,
		"boreas_push_lookups_forgotten_total": 9, "boreas_quota_call_failures_total": 1,
		"boreas_quota_untracked_connections_total": 1,
	} {
		families := m.Gather().Families
		i := slices.IndexFunc(families, func(f Family) bool { return f.Name == name })
		if i < 0 || len(families[i].Series) != 1 || families[i].Series[0].Value != want {
			t.Errorf("%s: %+v; want %v", name, families, want)
		}
	}
}

// TestNobodyCounts: a process without instruments has no hooks, which cost nothing.
func TestNobodyCounts(t *testing.T) {
	var none *Metrics
	for name, hooks := range map[string]any{
		"gateway": none.Gateway("g"), "service": none.Service("s"), "router": none.Router("s"),
		"backplane": none.Backplane(), "push": none.Push(), "quota": none.Quota(),
	} {
		if !reflect.ValueOf(hooks).IsZero() {
			t.Errorf("%s has hooks: %+v", name, hooks)
		}
	}
	if none.API() != nil {
		t.Error("the push API has a hook")
	}
}
