package compose

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// standInLabel is on every image that this test made in place of a public one.
	standInLabel = "boreas.stand-in"

	// cached is the repository where they stay from one run to the next, tagged with a
	// fingerprint of what they are made of. They have the names of public images only
	// while a test runs.
	cached = "boreas-stand-in"

	// pullTimeout is for each image. A registry that lets it pass is not asked again.
	pullTimeout = 2 * time.Minute
)

// standIn is what takes the place of an image that may not be had. It behaves like its
// original in what docker-compose.yml uses: entrypoint, user, paths.
type standIn struct {
	image    string   // how its name begins
	paths    []string // of Debian's packages; without any, all of them
	withGo   bool     // Go, and the modules of this repository
	settings []string // as in a Dockerfile
}

// everything is the image that those without paths are made of.
var everything = standIn{paths: []string{"."}}

var standIns = []standIn{
	{
		image: "golang:", paths: []string{"bin", "usr/bin/busybox", "usr/bin/sh", "etc", "tmp"}, withGo: true,
		settings: []string{"ENV PATH=/usr/local/go/bin:/usr/bin GOPROXY=file:///proxy GOSUMDB=off GOTOOLCHAIN=local"},
	},
	{
		image: "gcr.io/distroless/static", paths: []string{"etc/passwd", "etc/group", "etc/ssl/certs"},
		settings: []string{"USER 65532:65532"},
	},
	{image: "redis:", settings: []string{"WORKDIR /data", `CMD ["redis-server"]`}},
	{image: "haproxy:", settings: []string{
		"USER haproxy", "STOPSIGNAL SIGUSR1", `ENTRYPOINT ["haproxy", "-W", "-db"]`, `CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]`,
	}},
	{image: "prom/prometheus:", settings: []string{
		"USER nobody", "WORKDIR /prometheus", `ENTRYPOINT ["prometheus"]`,
		`CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]`,
	}},
}

// name is that of the stand-in in the cache.
func (s standIn) name(t *testing.T) string {
	t.Helper()
	hash := sha256.New()
	fmt.Fprintf(hash, "%q\n", []any{s, debianSuite, debianPackages, unused, users, groups})
	if s.withGo {
		sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(hash, runtime.Version(), runtime.GOARCH, string(sums))
	}
	return fmt.Sprintf("%s:%x", cached, hash.Sum(nil)[:6])
}

// make makes the stand-in, unless it is in the cache, and returns its name there.
func (s standIn) make(ctx context.Context, t *testing.T, packages *debian) string {
	t.Helper()
	name := s.name(t)
	if haveImage(ctx, name) {
		return name
	}
	if s.paths != nil {
		importImage(ctx, t, name, packages.root(ctx, t), s)
		return name
	}
	file := append([]string{"FROM " + everything.make(ctx, t, packages)}, s.settings...)
	build := exec.CommandContext(ctx, "docker", "build", "-q", "--label", standInLabel+"=true", "-t", name, "-")
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // there may be no other builder
	build.Stdin = strings.NewReader(strings.Join(file, "\n"))
	if _, err := output(build); err != nil {
		unable(ctx, t, err)
	}
	return name
}

// importImage makes an image of directories.
func importImage(ctx context.Context, t *testing.T, name, dir string, s standIn) {
	t.Helper()
	args := []string{"-c"}
	for _, path := range unused {
		args = append(args, "--exclude=./"+path)
	}
	args = append(append(args, "-C", dir), s.paths...)
	if s.withGo {
		args = append(args, goTree(ctx, t)...)
	}
	tar := exec.CommandContext(ctx, "tar", args...)
	archive, err := tar.StdoutPipe()
	if err != nil {
		unable(ctx, t, err)
	}
	if err := tar.Start(); err != nil {
		unable(ctx, t, err)
	}
	changes := []string{"import", "--change", "LABEL " + standInLabel + "=true"}
	for _, setting := range s.settings {
		changes = append(changes, "--change", setting)
	}
	importing := exec.CommandContext(ctx, "docker", append(changes, "-", name)...)
	importing.Stdin = archive
	_, err = output(importing)
	if end := tar.Wait(); err == nil && end != nil {
		err = fmt.Errorf("tar: %w", end)
	}
	if err != nil {
		unable(ctx, t, err)
	}
}

// goTree tells tar where this machine's Go is and, as a module proxy of files, the
// modules that this repository needs: containers have no network while they are built.
func goTree(ctx context.Context, t *testing.T) []string {
	t.Helper()
	goenv, err := output(exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE", "GOPROXY"))
	if err != nil {
		unable(ctx, t, err)
	}
	env := strings.Split(goenv, "\n")
	cache := t.TempDir()
	download := exec.CommandContext(ctx, "go", "mod", "download", "-modcacherw")
	download.Dir = root
	download.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOPROXY=file://"+env[1]+"/cache/download,"+env[2])
	if _, err := output(download); err != nil {
		unable(ctx, t, err)
	}
	if err := os.Rename(filepath.Join(cache, "cache/download"), filepath.Join(cache, "proxy")); err != nil {
		unable(ctx, t, err)
	}
	goroot := strings.TrimPrefix(env[0], "/")
	return []string{
		"-C", cache, "proxy",
		"--exclude=" + goroot + "/api", "--exclude=" + goroot + "/doc", "--exclude=" + goroot + "/test", "--exclude=" + goroot + "/*_test.go",
		"--transform=s,^" + regexp.QuoteMeta(goroot) + ",usr/local/go,", "-C", "/", goroot,
	}
}

// baseImages are the images that the Dockerfile starts from.
func baseImages(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var images []string
	for _, m := range regexp.MustCompile(`(?m)^ARG \w+_IMAGE=(\S+)$`).FindAllSubmatch(text, -1) {
		images = append(images, string(m[1]))
	}
	if len(images) != 2 {
		t.Fatalf("the Dockerfile names the base images %v; want 2", images)
	}
	return images
}

func haveImage(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", name).Run() == nil
}

// provide makes sure that images are there, whatever it takes, but those that
// neither a registry nor a stand-in can give.
func provide(ctx context.Context, t *testing.T, packages *debian, images []string) {
	t.Helper()
	for silent := false; len(images) > 0; images = images[1:] {
		image := images[0]
		if haveImage(ctx, image) {
			continue
		}
		if !silent {
			pull, cancel := context.WithTimeout(ctx, pullTimeout)
			err := exec.CommandContext(pull, "docker", "pull", "-q", image).Run()
			silent = pull.Err() != nil
			cancel()
			if err == nil {
				continue
			}
		}
		start := time.Now()
		i := slices.IndexFunc(standIns, func(s standIn) bool { return strings.HasPrefix(image, s.image) })
		if i < 0 {
			t.Logf("%s cannot be pulled and has no stand-in", image)
			continue
		}
		if _, err := output(exec.CommandContext(ctx, "docker", "tag", standIns[i].make(ctx, t, packages), image)); err != nil {
			unable(ctx, t, err)
		}
		t.Logf("%s cannot be pulled; its stand-in took %v", image, time.Since(start).Round(100*time.Millisecond))
	}
}

// withdrawStandIns takes the names of public images from the stand-ins, which must not
// pass for those, and removes the ones that are out of date.
func withdrawStandIns(ctx context.Context, t *testing.T) error {
	keep := []string{everything.name(t)}
	for _, s := range standIns {
		keep = append(keep, s.name(t))
	}
	label := "label=" + standInLabel
	list, err := output(exec.CommandContext(ctx, "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", label))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(list) {
		if slices.Contains(keep, name) || strings.Contains(name, "<none>") {
			continue
		}
		if _, err := output(exec.CommandContext(ctx, "docker", "image", "rm", name)); err != nil {
			return fmt.Errorf("stand-ins: %w", err)
		}
	}
	_, err = output(exec.CommandContext(ctx, "docker", "image", "prune", "--force", "--filter", label))
	return err
}
