package registry

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestBuild feeds a service's view with what Redis said at successive times.
func TestBuild(t *testing.T) {
	const ttl = 5 * time.Second
	a, a2, b, g := inc("a", 1), inc("a", 2), inc("b", 1), inc("g", 1)
	says := func(instances []wire.Incarnation, gateways []wire.Incarnation, dead ...member) members {
		m := members{instances: map[wire.Incarnation]Instance{}, gateways: map[wire.Incarnation]struct{}{}, dead: map[member]struct{}{}}
		for _, i := range instances {
			m.instances[i] = Instance{Incarnation: i, State: StateServing}
		}
		for _, i := range gateways {
			m.gateways[i] = struct{}{}
		}
		for _, who := range dead {
			m.dead[who] = struct{}{}
		}
		return m
	}
	list := func(i ...wire.Incarnation) []wire.Incarnation { return i }
	all := says(list(a, b), list(g))
	type step struct {
		after time.Duration
		says  members
		want  []wire.Incarnation
	}
	for name, steps := range map[string][]step{
		"death": {
			{0, all, list(a, b, g)},
			{0, says(list(b), list(g), instanceMember(a)), list(b, g)},
			{0, says(list(b), nil, instanceMember(a), gatewayMember(g, 0)), list(b)},
		},
		"lost data, and back in time": {
			{0, all, list(a, b, g)},
			{0, says(nil, nil), list(a, b, g)},
			{ttl - 1, says(list(a), nil), list(a, b, g)},
			{0, all, list(a, b, g)},
			{time.Hour, says(nil, nil), list(a, b, g)},
		},
		"lost data, and missing for a TTL": {
			{0, all, list(a, b, g)},
			{0, says(nil, list(g)), list(a, b, g)},
			{ttl - 1, says(nil, nil), list(a, b, g)},
			{1, says(nil, nil), list(g)},
			{ttl - 1, says(nil, nil), nil},
			{0, all, list(a, b, g)},
		},
		"a later start of the node": {
			{0, all, list(a, b, g)},
			{0, says(list(a2, b), list(g)), list(a2, b, g)},
			{0, says(list(a, a2, b), list(g)), list(a2, b, g)},
			{0, says(list(a, b), list(g), instanceMember(a2)), list(a, b, g)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now, missing := time.Unix(0, 0), map[member]time.Time{}
			var v *ServiceView
			for n, s := range steps {
				now = now.Add(s.after)
				v = build(chat, s.says, nil, v, missing, now, ttl)
				var got []wire.Incarnation
				for _, i := range v.Instances {
					got = append(got, i.Incarnation)
				}
				for i := range v.Gateways {
					got = append(got, i)
				}
				slices.SortFunc(got, func(a, b wire.Incarnation) int { return byName(a.String(), b.String()) })
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

func byName(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestLost checks who is reported as lost between two views.
func TestLost(t *testing.T) {
	a, b, g := inc("a", 1), inc("b", 1), inc("g", 1)
	view := func(services ...*ServiceView) *View {
		v := &View{Services: map[string]*ServiceView{}}
		for _, s := range services {
			v.Services[s.Name] = s
		}
		return v
	}
	service := func(name string, instance, gateway, dead wire.Incarnation) *ServiceView {
		s := &ServiceView{Service: Service{Name: name}, Instances: map[wire.NodeID]Instance{}}
		s.Gateways, s.Dead = map[wire.Incarnation]struct{}{gateway: {}}, map[wire.Incarnation]struct{}{dead: {}}
		s.Instances[instance.Node] = Instance{Incarnation: instance}
		return s
	}
	none := wire.Incarnation{}
	for _, test := range []struct {
		name      string
		old, next *View
		want      []wire.Incarnation
	}{
		{"nothing changed", view(service("x", a, g, none)), view(service("x", a, g, none)), nil},
		{"an instance left", view(service("x", a, g, none)), view(service("x", none, g, none)), []wire.Incarnation{a}},
		{"the service left", view(service("x", a, g, none)), view(), []wire.Incarnation{a, g}},
		{"it still serves another", view(service("x", a, g, none), service("y", a, g, none)), view(service("x", none, g, a), service("y", a, g, none)), nil},
		{"a gateway that was never seen died", view(service("x", a, none, none)), view(service("x", a, none, g)), []wire.Incarnation{g}},
		{"that was known", view(service("x", a, none, g)), view(service("x", a, none, g)), nil},
		{"a restart", view(service("x", a, none, none)), view(service("x", inc("a", 2), none, a)), []wire.Incarnation{a}},
		{"a new service", view(), view(service("x", b, g, none)), nil},
	} {
		got := test.next.Lost(test.old)
		got = slices.DeleteFunc(got, wire.Incarnation.IsZero)
		slices.SortFunc(got, func(a, b wire.Incarnation) int { return byName(a.String(), b.String()) })
		if len(got) != len(test.want) || len(got) > 0 && !slices.Equal(got, test.want) {
			t.Errorf("%s: lost %v; want %v", test.name, got, test.want)
		}
	}
}

// TestOnChange checks that listeners hear of changes of members only, and stop.
func TestOnChange(t *testing.T) {
	r, err := New(Config{Client: unused(t), Self: inc("a", 1)})
	if err != nil {
		t.Fatal(err)
	}
	w, heard := r.watch, 0
	stop := r.OnChange(func(old, next *View) {
		heard++
		if next.Version != old.Version+1 || r.View() != next {
			t.Errorf("change from version %d to %d; the view has %d", old.Version, next.Version, r.View().Version)
		}
	})
	now := time.Now()
	publish := func(want int) {
		t.Helper()
		w.publish(now)
		if heard != want {
			t.Errorf("heard of %d changes; want %d", heard, want)
		}
	}
	publish(0)
	w.routes = map[string]Service{"chat": chat}
	w.tracked["chat"] = &tracked{missing: map[member]time.Time{}, members: members{instances: map[wire.Incarnation]Instance{inc("a", 1): {Incarnation: inc("a", 1)}}}}
	publish(1)
	w.tracked["chat"].counts = map[wire.Incarnation]int64{inc("a", 1): 7}
	publish(1)
	if n := r.View().Services["chat"].Instances["a"].Pins; n != 7 {
		t.Errorf("the view has %d pins; want 7", n)
	}
	changed := chat
	changed.Gateways = []string{"public"}
	w.routes = map[string]Service{"chat": changed}
	publish(2)
	w.routes = nil // lost, while the instance lives
	publish(2)
	now = now.Add(DefaultLeaseTTL - 1)
	publish(2)
	now = now.Add(1) // lost for good: another service has them
	publish(3)
	if s := r.View().Services["chat"]; s == nil || len(s.Routes) != 0 {
		t.Errorf("a TTL after the routes were gone the view has %+v", s)
	}
	stop()
	delete(w.tracked, "chat")
	publish(3)
	if len(r.View().Services) != 0 {
		t.Errorf("the view still has %v", r.View().Services)
	}
}
