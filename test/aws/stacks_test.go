package aws

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/redisbus"
)

// balancers are the two kinds of load balancer, by their parameter.
var balancers = []string{"network", "application"}

func withBalancer(kind string) map[string]map[string]string {
	return map[string]map[string]string{"gateway.yaml": {"LoadBalancerType": kind}}
}

// container is the one container of a stack's tasks.
func container(t *testing.T, s stack) object {
	t.Helper()
	list, _ := s.only("AWS::ECS::TaskDefinition")["ContainerDefinitions"].([]any)
	if len(list) != 1 {
		t.Fatalf("%d containers", len(list))
	}
	c, _ := list[0].(object)
	return c
}

// environment is that of a container; secrets have the value "".
func environment(c object) map[string]string {
	values := map[string]string{}
	for _, part := range []string{"Environment", "Secrets"} {
		list, _ := c[part].([]any)
		for _, v := range list {
			entry, _ := v.(object)
			name, _ := entry["Name"].(string)
			values[name] = ""
			if entry["Value"] != nil {
				values[name] = fmt.Sprint(entry["Value"])
			}
		}
	}
	return values
}

// pairs is a list of {Key, Value}.
func pairs(v any) map[string]string {
	values := map[string]string{}
	list, _ := v.([]any)
	for _, item := range list {
		o, _ := item.(object)
		values[fmt.Sprint(o["Key"])] = fmt.Sprint(o["Value"])
	}
	return values
}

func seconds(t *testing.T, v any) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * time.Second
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSettingsExist compares the variables that tasks get with those that the
// programs know.
func TestSettingsExist(t *testing.T) {
	stacks := deploy(t, withBalancer("application"))
	help := exec.Command("go", "run", "./examples/chat", "--help")
	help.Dir = "../.."
	chat, err := help.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, known := range map[string]map[string]bool{
		"gateway.yaml": settings(t, readFile(t, ".env.example")),
		"service.yaml": settings(t, string(chat)),
	} {
		for variable := range environment(container(t, stacks[name])) {
			if !known[variable] {
				t.Errorf("%s sets %s, which is no setting", name, variable)
			}
		}
	}
}

// stopReserve is what a gateway may take after its stop timeout (docs/operations.md).
const stopReserve = 5 * time.Second

// TestTimesOfDrainFit goes through the drain, from the inside out: sockets are closed
// within the window, the rest at the stop timeout, the process ends 5 s later, ECS
// kills it after that, and the load balancer keeps connections as long.
func TestTimesOfDrainFit(t *testing.T) {
	stop := regexp.MustCompile(`(?m)^#BOREAS_STOP_TIMEOUT=(\S+)$`).FindStringSubmatch(readFile(t, ".env.example"))
	for _, kind := range balancers {
		for _, drain := range []string{"quick", "normal", "slow"} {
			s := deploy(t, map[string]map[string]string{"gateway.yaml": {"LoadBalancerType": kind, "Drain": drain}})["gateway.yaml"]
			c := container(t, s)
			env := environment(c)
			window, stopping := duration(t, env["BOREAS_DRAIN_WINDOW"]), duration(t, env["BOREAS_STOP_TIMEOUT"])
			kill := seconds(t, c["StopTimeout"])
			attributes := pairs(s.only("AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroupAttributes"])
			keep := seconds(t, attributes["deregistration_delay.timeout_seconds"])
			if window >= stopping || stopping+stopReserve > kill || kill > 120*time.Second || keep < kill {
				t.Errorf("%s: window %v, stop %v, killed after %v, connections kept for %v", drain, window, stopping, kill, keep)
			}
			if drain == "quick" && (window != gateway.DefaultDrainWindow || stopping != duration(t, stop[1])) {
				t.Errorf("quick is window %v and stop %v; the defaults are %v and %s", window, stopping, gateway.DefaultDrainWindow, stop[1])
			}
		}
	}
	service := container(t, deploy(t, nil)["service.yaml"])
	handlers := duration(t, environment(service)["BOREAS_DRAIN_TIMEOUT"])
	if kill := seconds(t, service["StopTimeout"]); handlers+stopReserve > kill || kill > 120*time.Second {
		t.Errorf("a service is killed after %v, its handlers have %v", kill, handlers)
	}
}

// TestLoadBalancerLeavesConnectionsAlone: it outlasts the pauses between pings, and
// ends no connection of a gateway that is unready because it drains.
func TestLoadBalancerLeavesConnectionsAlone(t *testing.T) {
	for _, kind := range balancers {
		s := deploy(t, withBalancer(kind))["gateway.yaml"]
		attributes := pairs(s.only("AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroupAttributes"])
		if kind == "network" {
			for _, name := range []string{"deregistration_delay.connection_termination.enabled", "target_health_state.unhealthy.connection_termination.enabled"} {
				if attributes[name] != "false" {
					t.Errorf("%s is %q", name, attributes[name])
				}
			}
			continue
		}
		idle := pairs(s.only("AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancerAttributes"])["idle_timeout.timeout_seconds"]
		if seconds(t, idle) < 2*gateway.DefaultPingInterval {
			t.Errorf("idle timeout %s s, pings every %v", idle, gateway.DefaultPingInterval)
		}
	}
}

// TestPortsFit follows a client, and a probe, from the load balancer to the gateway.
func TestPortsFit(t *testing.T) {
	for _, kind := range balancers {
		s := deploy(t, withBalancer(kind))["gateway.yaml"]
		c := container(t, s)
		env := environment(c)
		group := s.only("AWS::ElasticLoadBalancingV2::TargetGroup")
		if got := fmt.Sprint(":", group["Port"]); got != env["BOREAS_LISTEN"] {
			t.Errorf("targets have port %s, gateways %s", got, env["BOREAS_LISTEN"])
		}
		if got := fmt.Sprint(":", group["HealthCheckPort"]); got != env["BOREAS_INTERNAL_LISTEN"] || group["HealthCheckPath"] != "/readyz" {
			t.Errorf("probes of port %s, gateways have %s", got, env["BOREAS_INTERNAL_LISTEN"])
		}
		if _, ok := env["BOREAS_INTERNAL_KEY"]; !ok {
			t.Error("the internal listener is open to others, and has no key")
		}
		var open []string
		balancer := "id-of-LoadBalancerSecurityGroup"
		rules, _ := s.resources["GatewaySecurityGroup"].properties["SecurityGroupIngress"].([]any)
		for _, r := range rules {
			rule, _ := r.(object)
			open = append(open, fmt.Sprint(":", rule["FromPort"]))
			if rule["SourceSecurityGroupId"] != balancer || rule["FromPort"] != rule["ToPort"] {
				t.Errorf("a gateway lets %v in", rule)
			}
		}
		slices.Sort(open)
		if !slices.Equal(open, []string{env["BOREAS_LISTEN"], env["BOREAS_INTERNAL_LISTEN"]}) {
			t.Errorf("open are %v", open)
		}
		for _, name := range []string{"LoadBalancerToClients", "LoadBalancerToProbes"} {
			if rule := s.resources[name].properties; rule["GroupId"] != balancer || !slices.Contains(open, fmt.Sprint(":", rule["ToPort"])) {
				t.Errorf("%s: %v", name, rule)
			}
		}
	}
}

// TestOnlyProxiesAreBelieved: a load balancer that keeps the client's address is not
// asked for it, for then it would be the client who answers.
func TestOnlyProxiesAreBelieved(t *testing.T) {
	for kind, want := range map[string]string{"network": "", "application": "10.20.0.0/16"} {
		s := deploy(t, withBalancer(kind))["gateway.yaml"]
		env := environment(container(t, s))
		kept := pairs(s.only("AWS::ElasticLoadBalancingV2::TargetGroup")["TargetGroupAttributes"])["preserve_client_ip.enabled"]
		if env["BOREAS_TRUSTED_PROXIES"] != want || (kept == "true") != (want == "") {
			t.Errorf("%s: believed are %q, addresses are kept: %q", kind, env["BOREAS_TRUSTED_PROXIES"], kept)
		}
	}
}

// TestRedisURLParses puts the URL of the stack together, as ECS would.
func TestRedisURLParses(t *testing.T) {
	s := deploy(t, nil)["redis.yaml"]
	raw := fmt.Sprint(s.resources["RedisUrl"].properties["SecretString"])
	url := strings.NewReplacer("{{resolve:secretsmanager:id-of-AuthToken}}", "T0ken",
		"ConfigurationEndPoint.Address-of-Redis", "redis.example.com", "ConfigurationEndPoint.Port-of-Redis", "6379").Replace(raw)
	if url != "rediss+cluster://:T0ken@redis.example.com:6379" {
		t.Errorf("the URL is %s", url)
	}
	if _, err := redisbus.ParseURL(url); err != nil {
		t.Error(err)
	}
	redis := s.only("AWS::ElastiCache::ReplicationGroup")
	for _, name := range []string{"TransitEncryptionEnabled", "AtRestEncryptionEnabled", "MultiAZEnabled", "AutomaticFailoverEnabled"} {
		if redis[name] != true {
			t.Errorf("%s is %v", name, redis[name])
		}
	}
	settings, _ := s.only("AWS::ElastiCache::ParameterGroup")["Properties"].(object)
	if settings["maxmemory-policy"] != "noeviction" || settings["cluster-enabled"] != "yes" {
		t.Errorf("settings of Redis: %v", settings)
	}
}

// TestTasksMayDoLittle looks at what a task that was broken into could do.
func TestTasksMayDoLittle(t *testing.T) {
	stacks := deploy(t, nil)
	for _, name := range []string{"gateway.yaml", "service.yaml"} {
		s := stacks[name]
		c := container(t, s)
		user, _ := c["User"].(string)
		if c["ReadonlyRootFilesystem"] != true || !strings.HasPrefix(user, "65532") || c["Privileged"] != nil {
			t.Errorf("%s: user %q, read-only %v", name, user, c["ReadonlyRootFilesystem"])
		}
		for role, r := range s.resources {
			if r.typ != "AWS::IAM::Role" {
				continue
			}
			if r.properties["ManagedPolicyArns"] != nil {
				t.Errorf("%s: %s has policies that AWS may widen", name, role)
			}
			for _, st := range statements(r.properties) {
				text, _ := json.Marshal(st["Action"])
				if strings.Contains(string(text), "*") {
					t.Errorf("%s: %s may do %s", name, role, text)
				}
				condition, _ := json.Marshal(st["Condition"])
				free := st["Action"] == "ecr:GetAuthorizationToken" ||
					st["Action"] == "cloudwatch:PutMetricData" && string(condition) == `{"StringEquals":{"cloudwatch:namespace":"Boreas"}}`
				if st["Resource"] == "*" && !free {
					t.Errorf("%s: %s may do %s to everything", name, role, text)
				}
			}
		}
	}
}

// statements are those of a role's own policies.
func statements(role object) (all []object) {
	policies, _ := role["Policies"].([]any)
	for _, p := range policies {
		policy, _ := p.(object)
		document, _ := policy["PolicyDocument"].(object)
		list, _ := document["Statement"].([]any)
		for _, s := range list {
			statement, _ := s.(object)
			all = append(all, statement)
		}
	}
	return all
}
