package services

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// What Connect is made of, by exact version.
const (
	debeziumVersion = "3.7.0.Final"
	debeziumMySQL   = "3.6.1.Final" // the newest that there is, and so MariaDB's
	debeziumMariaDB = "3.5.0.Final"
	javaAvroVersion = "1.12.1"
	compilerVersion = "3.38.0" // of Eclipse's Java compiler: the runtime that we install has none
)

//go:embed connect/AvroConverter.java
var avroConverter []byte

// Connect is a Kafka Connect worker, standalone, with Debezium's connectors for
// PostgreSQL, MySQL and MariaDB and a converter to Avro in the wire format of the schema registry.
// Connectors are added by its REST API.
type Connect struct {
	Brokers  string // host:port, separated by commas
	Registry string // URL of the Confluent API
	java     string
}

// Connect returns the worker of that name.
func (h *Home) Connect(name string, c Connect) *Server {
	return &Server{home: h, name: name, kind: &c}
}

func (c *Connect) ports() int             { return 1 }
func (c *Connect) signal() syscall.Signal { return syscall.SIGTERM }
func (c *Connect) address(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return "http://127.0.0.1:" + strconv.Itoa(ports[0])
}

func (c *Connect) install(ctx context.Context, h *Home) (err error) {
	if c.java, err = h.java(ctx); err != nil {
		return err
	}
	g, all := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := h.installConnect(all); err != nil {
			return err
		}
		return h.installConverter(all, c.java)
	})
	for family, version := range binlogConnectors {
		g.Go(func() error {
			return h.install(all, filepath.Base(h.plugin(family)), func(ctx context.Context, dir string) error {
				return debeziumPlugin(ctx, dir, family, version)
			})
		})
	}
	return g.Wait()
}

// binlogConnectors stand each in a folder of its own: they are of other versions
// than the one that the worker's folder is named after.
var binlogConnectors = map[string]string{"mysql": debeziumMySQL, "mariadb": debeziumMariaDB}

func (h *Home) plugin(family string) string {
	return filepath.Join(h.Dir, "soft", "debezium-"+family+"-"+binlogConnectors[family])
}

// debeziumPlugin unpacks a connector of Debezium's into dir.
func debeziumPlugin(ctx context.Context, dir, family, version string) error {
	artifact := "io.debezium:debezium-connector-" + family + ":" + version + ":tar.gz:plugin"
	if err := run(ctx, dir, "mvn", "-q", "-B", "dependency:copy", "-Dartifact="+artifact, "-DoutputDirectory="+dir); err != nil {
		return err
	}
	archive := filepath.Join(dir, "debezium-connector-"+family+"-"+version+"-plugin.tar.gz")
	if err := run(ctx, dir, "tar", "xzf", archive); err != nil {
		return err
	}
	return os.Remove(archive)
}

func (h *Home) connect() string {
	return filepath.Join(h.Dir, "soft", "connect-"+kafkaVersion+"-debezium-"+debeziumVersion)
}

// installConnect takes the worker and Debezium's plugin for PostgreSQL from
// Maven Central by their coordinates.
func (h *Home) installConnect(ctx context.Context) error {
	return h.install(ctx, filepath.Base(h.connect()), func(ctx context.Context, dir string) error {
		jars, plugins := filepath.Join(dir, "jars"), filepath.Join(dir, "plugins")
		log4j := `<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers></Configuration>
`
		err := errors.Join(os.MkdirAll(plugins, 0o755), os.WriteFile(filepath.Join(dir, "log4j2.xml"), []byte(log4j), 0o644))
		if err != nil {
			return err
		}
		g, both := errgroup.WithContext(ctx)
		g.Go(func() error {
			return mavenJars(both, dir, jars, "org.apache.kafka:connect-runtime:"+kafkaVersion, "org.apache.kafka:connect-json:"+kafkaVersion,
				"org.apache.avro:avro:"+javaAvroVersion, "org.eclipse.jdt:ecj:"+compilerVersion,
				"org.apache.logging.log4j:log4j-core:"+log4jVersion, "org.apache.logging.log4j:log4j-slf4j-impl:"+log4jVersion)
		})
		g.Go(func() error { return debeziumPlugin(both, plugins, "postgres", debeziumVersion) })
		return g.Wait()
	})
}

// converter is the folder with the converter's classes, named after what they
// are made of.
func (h *Home) converter() string {
	sum := sha256.Sum256(avroConverter)
	return filepath.Join(h.Dir, "soft", "connect-converter-"+hex.EncodeToString(sum[:4]))
}

// installConverter compiles the converter by the worker's jars.
func (h *Home) installConverter(ctx context.Context, java string) error {
	return h.install(ctx, filepath.Base(h.converter()), func(ctx context.Context, dir string) error {
		jars, classes := filepath.Join(h.connect(), "jars"), filepath.Join(dir, "classes")
		services := filepath.Join(classes, "META-INF", "services")
		err := errors.Join(os.MkdirAll(services, 0o755),
			os.WriteFile(filepath.Join(dir, "AvroConverter.java"), avroConverter, 0o644),
			os.WriteFile(filepath.Join(services, "org.apache.kafka.connect.storage.Converter"), []byte("cdc.AvroConverter\n"), 0o644))
		if err != nil {
			return err
		}
		return run(ctx, dir, java, "-cp", filepath.Join(jars, "*"), "org.eclipse.jdt.internal.compiler.batch.Main",
			"-17", "-nowarn", "-d", classes, "-cp", classPath(jars), filepath.Join(dir, "AvroConverter.java"))
	})
}

// classPath names every jar of a folder: unlike the runtime the compiler knows
// no pattern.
func classPath(dir string) string {
	all, _ := filepath.Glob(filepath.Join(dir, "*.jar"))
	return strings.Join(all, string(os.PathListSeparator))
}

// mavenJars puts the jars of those coordinates, group:artifact:version, with
// all they need at run time into a folder. It leaves its pom in dir.
func mavenJars(ctx context.Context, dir, jars string, coordinates ...string) error {
	var pom strings.Builder
	pom.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>cdc</groupId><artifactId>services</artifactId><version>1</version><dependencies>`)
	for _, c := range coordinates {
		f := strings.Split(c, ":")
		fmt.Fprintf(&pom, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>", f[0], f[1], f[2])
	}
	pom.WriteString(`</dependencies></project>`)
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom.String()), 0o644); err != nil {
		return err
	}
	return run(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars)
}

func (c *Connect) prepare(_ context.Context, s *Server, ports []int) (*exec.Cmd, error) {
	soft := s.home.connect()
	worker := fmt.Sprintf(`bootstrap.servers=%[1]s
plugin.path=%[2]s
plugin.discovery=service_load
offset.storage.file.filename=%[3]s
offset.flush.interval.ms=500
offset.flush.timeout.ms=60000
listeners=%[4]s
connector.client.config.override.policy=All
key.converter=cdc.AvroConverter
key.converter.schema.registry.url=%[5]s
value.converter=cdc.AvroConverter
value.converter.schema.registry.url=%[5]s
`, c.Brokers, strings.Join([]string{filepath.Join(soft, "plugins"), s.home.plugin("mysql"), s.home.plugin("mariadb")}, ","), filepath.Join(s.Dir(), "offsets"), c.address(ports), c.Registry)
	properties := filepath.Join(s.Dir(), "worker.properties")
	if err := os.WriteFile(properties, []byte(worker), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(c.java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile="+filepath.Join(soft, "log4j2.xml"),
		"-cp", filepath.Join(soft, "jars", "*")+string(os.PathListSeparator)+filepath.Join(s.home.converter(), "classes"),
		"org.apache.kafka.connect.cli.ConnectStandalone", properties), nil
}

func (c *Connect) answers(ctx context.Context, ports []int) error {
	return answersGet(ctx, c.address(ports), "/connectors")
}
