package cdc;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigDecimal;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.JsonProperties;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.connect.data.Date;
import org.apache.kafka.connect.data.Decimal;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Time;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;

/**
 * Connect data to Avro in the schema registry's wire format, for source connectors in tests: Confluent's converter is in no public
 * Maven repository. The schemas are those of Confluent's AvroData with its defaults, properties in its order, so that a registry
 * gives them the ids that it gives Confluent's. Nulls stay null (its ignore.default.for.nullables=true).
 */
public class AvroConverter implements Converter {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<String, Map<Schema, Integer>> ids = new HashMap<>();
    private String registry;
    private String suffix;

    @Override public void configure(Map<String, ?> config, boolean isKey) {
        registry = config.get("schema.registry.url").toString();
        suffix = isKey ? "-key" : "-value";
    }

    @Override public SchemaAndValue toConnectData(String topic, byte[] data) {
        throw new DataException("this converter only writes");
    }

    @Override public byte[] fromConnectData(String topic, Schema schema, Object value) {
        if (value == null) return null;
        try {
            var known = ids.computeIfAbsent(topic, t -> new IdentityHashMap<>());
            Integer id = known.get(schema);
            if (id == null) known.put(schema, id = register(topic + suffix, avro(schema, new HashMap<>())));
            var out = new ByteArrayOutputStream();
            out.write(0);
            out.write(ByteBuffer.allocate(4).putInt(id).array());
            var encoder = EncoderFactory.get().directBinaryEncoder(out, null);
            write(encoder, schema, value);
            encoder.flush();
            return out.toByteArray();
        } catch (IOException e) {
            throw new DataException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new DataException(e);
        }
    }

    private int register(String subject, org.apache.avro.Schema schema) throws IOException, InterruptedException {
        var body = JSON.writeValueAsString(Map.of("schema", schema.toString().replace("\"{}\"", "\"\\u007b}\"")));
        var request = HttpRequest.newBuilder(URI.create(registry + "/subjects/" + subject + "/versions"))
            .header("Content-Type", "application/vnd.schemaregistry.v1+json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
        var answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new DataException(subject + ": " + answer.statusCode() + " " + answer.body() + " for " + schema);
        return JSON.readTree(answer.body()).get("id").asInt();
    }

    // The schemas.

    private static org.apache.avro.Schema avro(Schema s, Map<String, org.apache.avro.Schema> records) {
        var known = s.name() == null ? null : records.get(s.name());
        var a = known != null ? known : bare(s, records);
        if (known == null) describe(a, s);
        if (!s.isOptional()) return a;
        var none = of(org.apache.avro.Schema.Type.NULL);
        return s.defaultValue() == null ? org.apache.avro.Schema.createUnion(none, a) : org.apache.avro.Schema.createUnion(a, none);
    }

    private static org.apache.avro.Schema of(org.apache.avro.Schema.Type type) { return org.apache.avro.Schema.create(type); }

    private static org.apache.avro.Schema bare(Schema s, Map<String, org.apache.avro.Schema> records) {
        return switch (s.type()) {
            case INT8, INT16, INT32 -> of(org.apache.avro.Schema.Type.INT);
            case INT64 -> of(org.apache.avro.Schema.Type.LONG);
            case FLOAT32 -> of(org.apache.avro.Schema.Type.FLOAT);
            case FLOAT64 -> of(org.apache.avro.Schema.Type.DOUBLE);
            case BOOLEAN -> of(org.apache.avro.Schema.Type.BOOLEAN);
            case STRING -> of(org.apache.avro.Schema.Type.STRING);
            case BYTES -> {
                var a = of(org.apache.avro.Schema.Type.BYTES);
                if (isDecimal(s)) {
                    a.addProp("scale", scale(s));
                    a.addProp("precision", precision(s));
                }
                yield a;
            }
            case ARRAY -> org.apache.avro.Schema.createArray(avro(s.valueSchema(), records));
            case MAP -> {
                if (hasTexts(s)) yield org.apache.avro.Schema.createMap(avro(s.valueSchema(), records));
                var entry = org.apache.avro.Schema.createRecord("MapEntry", null, "io.confluent.connect.avro", false);
                entry.setFields(java.util.List.of(
                    new org.apache.avro.Schema.Field("key", avro(s.keySchema(), records), null, (Object) null),
                    new org.apache.avro.Schema.Field("value", avro(s.valueSchema(), records), null, (Object) null)));
                yield org.apache.avro.Schema.createArray(entry);
            }
            case STRUCT -> {
                var name = s.name() == null ? "ConnectDefault" : s.name();
                int dot = name.lastIndexOf('.');
                var a = org.apache.avro.Schema.createRecord(name.substring(dot + 1), null, dot < 0 ? null : name.substring(0, dot), false);
                if (s.name() != null) records.put(s.name(), a);
                var fields = new ArrayList<org.apache.avro.Schema.Field>();
                for (var f : s.fields()) {
                    Object preset = f.schema().isOptional() ? JsonProperties.NULL_VALUE : null;
                    if (f.schema().defaultValue() != null) preset = preset(f.schema(), f.schema().defaultValue());
                    fields.add(new org.apache.avro.Schema.Field(f.name(), avro(f.schema(), records), null, preset));
                }
                a.setFields(fields);
                yield a;
            }
        };
    }

    /** Adds what Avro has no word for. */
    private static void describe(org.apache.avro.Schema a, Schema s) {
        if (s.version() != null) a.addProp("connect.version", s.version());
        if (s.parameters() != null && !s.parameters().isEmpty()) a.addProp("connect.parameters", new LinkedHashMap<>(s.parameters()));
        if (s.defaultValue() != null) a.addProp("connect.default", preset(s, s.defaultValue()));
        if (s.name() != null) a.addProp("connect.name", s.name());
        if (s.type() == Schema.Type.INT8 || s.type() == Schema.Type.INT16) a.addProp("connect.type", s.type().getName());
        if (isDecimal(s)) a.addProp("logicalType", "decimal");
        else if (Date.LOGICAL_NAME.equals(s.name())) a.addProp("logicalType", "date");
        else if (Time.LOGICAL_NAME.equals(s.name())) a.addProp("logicalType", "time-millis");
        else if (Timestamp.LOGICAL_NAME.equals(s.name())) a.addProp("logicalType", "timestamp-millis");
    }

    /** Only a map with texts for keys is one to Avro; any other is an array of entries. */
    private static boolean hasTexts(Schema map) { return map.keySchema().type() == Schema.Type.STRING && !map.keySchema().isOptional(); }

    private static boolean isDecimal(Schema s) { return Decimal.LOGICAL_NAME.equals(s.name()); }
    private static int scale(Schema s) { return Integer.parseInt(s.parameters().get(Decimal.SCALE_FIELD)); }
    private static int precision(Schema s) { return Integer.parseInt(s.parameters().getOrDefault("connect.decimal.precision", "64")); }

    /** A default in the form that stands in a schema's JSON. */
    private static Object preset(Schema s, Object v) {
        Object p = primitive(s, v);
        return switch (s.type()) {
            case INT8, INT16, INT32 -> ((Number) p).intValue();
            case BYTES -> new String(p instanceof ByteBuffer b ? copy(b) : (byte[]) p, StandardCharsets.ISO_8859_1);
            case ARRAY -> ((List<?>) p).stream().map(e -> preset(s.valueSchema(), e)).toList();
            case MAP -> {
                var m = new LinkedHashMap<String, Object>();
                ((Map<?, ?>) p).forEach((k, e) -> m.put(k.toString(), preset(s.valueSchema(), e)));
                yield m;
            }
            case STRUCT -> {
                var m = new LinkedHashMap<String, Object>();
                for (var f : s.fields()) {
                    var e = ((Struct) p).get(f);
                    m.put(f.name(), e == null ? JsonProperties.NULL_VALUE : preset(f.schema(), e));
                }
                yield m;
            }
            default -> p;
        };
    }

    private static byte[] copy(ByteBuffer b) {
        var bytes = new byte[b.remaining()];
        b.duplicate().get(bytes);
        return bytes;
    }

    /** A value of Connect's logical types as what they are made of. */
    private static Object primitive(Schema s, Object v) {
        if (v instanceof BigDecimal d) return Decimal.fromLogical(s, d);
        if (!(v instanceof java.util.Date d)) return v;
        return switch (s.name()) {
            case Date.LOGICAL_NAME -> Date.fromLogical(s, d);
            case Time.LOGICAL_NAME -> Time.fromLogical(s, d);
            default -> Timestamp.fromLogical(s, d);
        };
    }

    // The bytes.

    private static void write(BinaryEncoder out, Schema s, Object value) throws IOException {
        if (s.isOptional()) {
            int none = s.defaultValue() == null ? 0 : 1;
            out.writeIndex(value == null ? none : 1 - none);
            if (value == null) return;
        }
        Object v = primitive(s, value);
        switch (s.type()) {
            case INT8, INT16, INT32 -> out.writeInt(((Number) v).intValue());
            case INT64 -> out.writeLong((Long) v);
            case FLOAT32 -> out.writeFloat((Float) v);
            case FLOAT64 -> out.writeDouble((Double) v);
            case BOOLEAN -> out.writeBoolean((Boolean) v);
            case STRING -> out.writeString(v.toString());
            case BYTES -> out.writeBytes(v instanceof ByteBuffer b ? copy(b) : (byte[]) v);
            case ARRAY -> {
                var list = (List<?>) v;
                out.writeArrayStart();
                out.setItemCount(list.size());
                for (var e : list) {
                    out.startItem();
                    write(out, s.valueSchema(), e);
                }
                out.writeArrayEnd();
            }
            case MAP -> {
                var map = (Map<?, ?>) v;
                boolean texts = hasTexts(s);
                if (texts) out.writeMapStart();
                else out.writeArrayStart();
                out.setItemCount(map.size());
                for (var e : map.entrySet()) {
                    out.startItem();
                    write(out, s.keySchema(), e.getKey());
                    write(out, s.valueSchema(), e.getValue());
                }
                if (texts) out.writeMapEnd();
                else out.writeArrayEnd();
            }
            case STRUCT -> {
                for (var f : s.fields()) write(out, f.schema(), ((Struct) v).getWithoutDefault(f.name()));
            }
        }
    }
}
