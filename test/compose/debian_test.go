package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
	if errors.Is(d.err, errNoPackages) {
		t.Skipf("NOT TESTED: there is neither a registry nor Debian: %v", d.err)
	}
	if d.err != nil {
		unable(ctx, t, d.err)
	}
	return filepath.Join(d.dir, "root")
}

var errNoPackages = errors.New("no packages")

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

// composeConfig returns a directory for DOCKER_CONFIG with Docker Compose in it. The
// program is kept in the user's cache, for the next time.
func composeConfig(ctx context.Context, t *testing.T, packages *debian) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		unable(ctx, t, err)
	}
	config := filepath.Join(cache, "boreas", "docker-"+debianSuite)
	plugin := filepath.Join(config, "cli-plugins", "docker-compose")
	version := exec.CommandContext(ctx, "docker", "compose", "version")
	version.Env = append(os.Environ(), "DOCKER_CONFIG="+config)
	if version.Run() == nil {
		return config
	}
	program, err := os.ReadFile(filepath.Join(packages.root(ctx, t), "usr/libexec/docker/cli-plugins/docker-compose"))
	err = errors.Join(err, os.MkdirAll(filepath.Dir(plugin), 0o755))
	if err == nil {
		err = errors.Join(os.WriteFile(plugin+".new", program, 0o755), os.Rename(plugin+".new", plugin))
	}
	if err != nil {
		unable(ctx, t, err)
	}
	return config
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
		return fmt.Errorf("%w: %w", errNoPackages, err)
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
		if _, err := output(exec.CommandContext(ctx, "apt-get", append(settings, args...)...)); err != nil {
			return fmt.Errorf("%w: %w", errNoPackages, err)
		}
		return nil
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
