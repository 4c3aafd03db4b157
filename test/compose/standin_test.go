package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// standInLabel is on every image that this test made in place of a public one.
const standInLabel = "boreas.stand-in"

// base is an image with all Debian packages below.
const base = "boreas-stand-in"

// standIns are the Dockerfiles of what may not be had, by the beginning of the
// image's name. Each behaves like its original in what docker-compose.yml uses:
// entrypoint, user, paths.
var standIns = map[string]string{
	"golang:": `FROM boreas-stand-in
COPY . /
ENV PATH=/usr/local/go/bin:/usr/bin:/usr/sbin GOPROXY=file:///proxy GOSUMDB=off GOTOOLCHAIN=local
`,
	"gcr.io/distroless/static": `FROM boreas-stand-in AS base
FROM scratch
COPY --from=base /etc/passwd /etc/group /etc/
COPY --from=base /etc/ssl/certs /etc/ssl/certs
USER 65532:65532
`,
	"redis:": `FROM boreas-stand-in
WORKDIR /data
CMD ["redis-server"]
`,
	"haproxy:": `FROM boreas-stand-in
USER haproxy
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db"]
CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]
`,
	"prom/prometheus:": `FROM boreas-stand-in
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
`,
}

// debianPackages are what the stand-ins and Docker Compose come from, of debianSuite;
// apt-get adds what they depend on.
var debianPackages = []string{
	"busybox-static", "ca-certificates", "docker-compose", "haproxy", "libc-bin", "prometheus", "redis-server",
}

const debianSuite = "trixie"

// unused is what makes those packages large and no program above needs.
var unused = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/javascript", "usr/share/fonts", "usr/bin/promtool",
	"usr/bin/docker", "usr/libexec", "usr/lib/x86_64-linux-gnu/gconv",
}

// users are those that the originals have.
const users = `root:x:0:0::/:/bin/sh
haproxy:x:99:99::/:/bin/false
redis:x:999:999::/data:/bin/false
nobody:x:65534:65534::/:/bin/false
nonroot:x:65532:65532::/home/nonroot:/bin/false
`

const groups = "root:x:0:\nhaproxy:x:99:\nredis:x:999:\nnogroup:x:65534:\nnonroot:x:65532:\n"

// debian is a directory with the unpacked packages, filled at the first need.
type debian struct {
	dir string
	err error
	did bool
}

// root returns where the packages are unpacked.
func (d *debian) root(ctx context.Context, t *testing.T) string {
	t.Helper()
	if !d.did {
		d.did = true
		start := time.Now()
		d.err = d.unpack(ctx, t)
		t.Logf("unpacked Debian's packages in %v", time.Since(start).Round(time.Second))
	}
	if d.err != nil {
		fatal(ctx, t, fmt.Errorf("no registry, and no stand-ins either: %w", d.err))
	}
	return filepath.Join(d.dir, "root")
}

// debianMirror returns the archive that this machine gets its packages from.
func debianMirror(ctx context.Context) (string, error) {
	out, err := output(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", err
	}
	for uri := range strings.Lines(out) {
		if uri = strings.TrimSpace(uri); strings.HasSuffix(strings.TrimSuffix(uri, "/"), "/debian") {
			return uri, nil
		}
	}
	return "", errors.New("this machine has no Debian archive among its package sources")
}

// unpack downloads the packages with everything they depend on, touching nothing
// outside its directory, and lays them out as an image.
func (d *debian) unpack(ctx context.Context, t *testing.T) error {
	d.dir = t.TempDir()
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return err
	}
	root := filepath.Join(d.dir, "root")
	for _, dir := range []string{
		"state/lists/partial", "cache/archives/partial", "root/usr/bin", "root/usr/sbin", "root/usr/lib", "root/usr/lib64",
		"root/etc/ssl/certs", "root/tmp", "root/data", "root/prometheus", "root/etc/prometheus",
	} {
		if err := os.MkdirAll(filepath.Join(d.dir, dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	sources := "deb " + mirror + " " + debianSuite + " main\n"
	if err := os.WriteFile(filepath.Join(d.dir, "sources.list"), []byte(sources), 0o600); err != nil {
		return err
	}
	apt := func(args ...string) error {
		settings := []string{
			"-q", "-o", "Dir::Etc::sourcelist=" + d.dir + "/sources.list", "-o", "Dir::Etc::sourceparts=-",
			"-o", "Dir::State::lists=" + d.dir + "/state/lists", "-o", "Dir::State::status=/dev/null",
			"-o", "Dir::Cache=" + d.dir + "/cache", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=",
			"-o", "Acquire::Languages=none",
		}
		_, err := output(exec.CommandContext(ctx, "apt-get", append(settings, args...)...))
		return err
	}
	if err := apt("update"); err != nil {
		return err
	}
	if err := apt(append([]string{"install", "-y", "--download-only", "--no-install-recommends"}, debianPackages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(d.dir, "cache/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := output(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root)); err != nil {
			return err
		}
	}
	return d.furnish(ctx, root)
}

// furnish does what the packages' own scripts would have done.
func (d *debian) furnish(ctx context.Context, root string) error {
	var certificates []byte
	roots, err := filepath.Glob(filepath.Join(root, "usr/share/ca-certificates/mozilla/*.crt"))
	if err != nil {
		return err
	}
	for _, name := range roots {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		certificates = append(certificates, b...)
	}
	for name, text := range map[string]string{
		"etc/ssl/certs/ca-certificates.crt": string(certificates), "etc/passwd": users, "etc/group": groups,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	applets, err := output(exec.CommandContext(ctx, filepath.Join(root, "usr/bin/busybox"), "--list"))
	if err != nil {
		return err
	}
	for applet := range strings.FieldsSeq(applets) {
		// What Debian has packaged by itself stays.
		_ = os.Symlink("busybox", filepath.Join(root, "usr/bin", applet))
	}
	for _, dir := range []string{"tmp", "data", "prometheus"} {
		if err := os.Chmod(filepath.Join(root, dir), 0o777); err != nil {
			return err
		}
	}
	return nil
}

// makeStandIn builds what stands in for an image, and reports whether it can.
func makeStandIn(ctx context.Context, t *testing.T, packages *debian, image string) bool {
	t.Helper()
	for prefix, file := range standIns {
		if !strings.HasPrefix(image, prefix) {
			continue
		}
		if !haveImage(ctx, base) {
			importImage(ctx, t, base, packages.root(ctx, t))
		}
		files := t.TempDir()
		if prefix == "golang:" {
			files = goTree(ctx, t)
		}
		build := exec.CommandContext(ctx, "docker", "build", "-q", "--label", standInLabel+"=true", "-t", image, "-f", "-", files)
		build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // there may be no other builder
		build.Stdin = strings.NewReader(file)
		if _, err := output(build); err != nil {
			fatal(ctx, t, err)
		}
		return true
	}
	return false
}

// importImage makes an image of a directory.
func importImage(ctx context.Context, t *testing.T, name, dir string) {
	t.Helper()
	args := []string{"-c", "-C", dir}
	for _, path := range unused {
		args = append(args, "--exclude=./"+path)
	}
	tar := exec.CommandContext(ctx, "tar", append(args, ".")...)
	archive, err := tar.StdoutPipe()
	if err != nil {
		fatal(ctx, t, err)
	}
	if err := tar.Start(); err != nil {
		fatal(ctx, t, err)
	}
	importing := exec.CommandContext(ctx, "docker", "import", "--change", "LABEL "+standInLabel+"=true", "-", name)
	importing.Stdin = archive
	if _, err := output(importing); err != nil {
		fatal(ctx, t, err)
	}
	if err := tar.Wait(); err != nil {
		fatal(ctx, t, fmt.Errorf("tar: %w", err))
	}
}

// goTree lays out this machine's Go and, as a module proxy of files, the modules
// that this repository needs: containers have no network while they are built.
func goTree(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "go")
	if err := os.MkdirAll(filepath.Join(dir, "usr/local"), 0o755); err != nil {
		fatal(ctx, t, err)
	}
	goenv, err := output(exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE", "GOPROXY"))
	if err != nil {
		fatal(ctx, t, err)
	}
	env := strings.Split(goenv, "\n")
	if _, err := output(exec.CommandContext(ctx, "cp", "-a", env[0], filepath.Join(dir, "usr/local/go"))); err != nil {
		fatal(ctx, t, err)
	}
	cache := t.TempDir()
	download := exec.CommandContext(ctx, "go", "mod", "download", "-modcacherw")
	download.Dir = root
	download.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOPROXY=file://"+env[1]+"/cache/download,"+env[2])
	if _, err := output(download); err != nil {
		fatal(ctx, t, err)
	}
	if err := os.Rename(filepath.Join(cache, "cache/download"), filepath.Join(dir, "proxy")); err != nil {
		fatal(ctx, t, err)
	}
	return dir
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

func isStandIn(ctx context.Context, name string) bool {
	label, err := output(exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{index .Config.Labels \""+standInLabel+"\"}}", name))
	return err == nil && label == "true"
}

// provide makes sure that an image is there, whatever it takes. It reports false
// for an image that has no stand-in.
func provide(ctx context.Context, t *testing.T, packages *debian, image string) bool {
	t.Helper()
	// A Go stand-in of an earlier run may lack modules; making it again is quick.
	if haveImage(ctx, image) && (!strings.HasPrefix(image, "golang:") || !isStandIn(ctx, image)) {
		return true
	}
	pull, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if exec.CommandContext(pull, "docker", "pull", "-q", image).Run() == nil {
		return true
	}
	start := time.Now()
	if !makeStandIn(ctx, t, packages, image) {
		t.Logf("%s cannot be pulled and has no stand-in", image)
		return false
	}
	t.Logf("%s cannot be pulled; made a stand-in in %v", image, time.Since(start).Round(time.Second))
	return true
}

// removeStandIns removes the images that this test made, which must not pass for
// the public ones later.
func removeStandIns(ctx context.Context) error {
	list, err := output(exec.CommandContext(ctx, "docker", "image", "ls", "--format", "{{.Repository}} {{.ID}}", "--filter", "label="+standInLabel))
	if err != nil {
		return err
	}
	// The one that others are made of is the last to go.
	var first, last []string
	for line := range strings.Lines(list) {
		if name, id, _ := strings.Cut(strings.TrimSpace(line), " "); name == base {
			last = append(last, id)
		} else if !slices.Contains(first, id) {
			first = append(first, id)
		}
	}
	for _, ids := range [][]string{first, last} {
		if len(ids) == 0 {
			continue
		}
		if _, err := output(exec.CommandContext(ctx, "docker", append([]string{"image", "rm", "-f"}, ids...)...)); err != nil {
			return fmt.Errorf("stand-ins: %w", err)
		}
	}
	return nil
}
