package dev.pocketportrait.pipeline

const val MANIFEST = "manifest.json"
const val SCHEMA_VERSION = 1L

/** Size and digest of one file. */
data class FileFacts(val bytes: Long, val sha256: String)

/** One exported graph: its file, and tensors as that file has them, matched with the contract by name. */
data class VariantGraph(val path: String, val inputs: List<TensorSpec>, val outputs: List<TensorSpec>)

/** All graphs in one format, made by one recipe. */
data class Variant(
    val graphs: Map<String, VariantGraph>,
    val recipe: String,
    val weights: String,
    val activations: String,
    val quantization: Map<String, Any?>,
)

/** Everything that `manifest.json` says; its fields are those of docs/schemas/manifest-1.json. */
data class Manifest(
    val graphs: Map<String, GraphSpec>,
    val codeSlices: Map<String, IntRange>,
    val variants: Map<String, Map<String, Variant>>,
    val files: Map<String, FileFacts>,
    val golden: Map<String, List<String>>,
    val tools: Map<String, String>,
    val licence: String,
    val model: Map<String, String>,
    val figures: Map<String, Any?>,
) {
    /** Returns the listed files that a path stands for: itself, or all in an `.mlpackage`. */
    fun filesOf(path: String): List<String> =
        if (path in files) listOf(path) else files.keys.filter { it.startsWith("$path/") }.sorted()

    companion object {
        /**
         * Reads a manifest as the Python package does, field for field.
         *
         * @throws InputError no JSON, another schema version, or contents unlike the schema.
         */
        fun of(text: String): Manifest {
            val data = readJson(text)
            val version = if (data is Map<*, *>) data["schema_version"] else null
            if (version != SCHEMA_VERSION) {
                throw InputError("$MANIFEST: want schema_version $SCHEMA_VERSION, got ${jsonText(version)}; export the bundle again, or update the app")
            }
            return readManifest(JsonFields(data, "manifest")).also(::checkNames)
        }
    }
}

private val NAME = Regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
private val SHA256 = Regex("^[0-9a-f]{64}$")
private val LAYOUTS = setOf(NCHW, NHWC, NC)
private val KINDS = setOf("tensor", "image")

private fun readManifest(fields: JsonFields): Manifest {
    fields.any("schema_version", null)
    val manifest = Manifest(
        graphs = fields.named("graphs", ::readGraph).onEachNamed("graphs"),
        codeSlices = fields.named("code_slices", ::readSlice).onEachNamed("code_slices"),
        variants = fields.named("variants", { by, where -> readNamed(by, where, ::readVariant).onEachNamed(where) }).onEachNamed("variants"),
        files = fields.named("files", ::readFacts),
        golden = fields.named("golden", ::readPaths).onEachNamed("golden"),
        tools = fields.named("tools", ::readText),
        licence = fields.text("licence"),
        model = fields.named("model", ::readText),
        figures = fields.named("figures", { value, _ -> value }, emptyMap()),
    )
    fields.end()
    manifest.files.keys.forEach { relativePath(it, "files") }
    return manifest
}

private fun readGraph(value: Any?, where: String): GraphSpec {
    val fields = JsonFields(value, where)
    val graph = GraphSpec(where.substringAfterLast('.'), fields.items("inputs", ::readTensor), fields.items("outputs", ::readTensor))
    fields.end()
    return graph
}

private fun readTensor(value: Any?, where: String): TensorSpec {
    val fields = JsonFields(value, where)
    val tensor = TensorSpec(
        name = fields.text("name"),
        shape = fields.items("shape") { n, at -> (n as? Long)?.takeIf { it in 1..Int.MAX_VALUE }?.toInt() ?: refuse(at, "a side from 1", n) },
        dtype = fields.text("dtype", "float32"),
        layout = fields.text("layout", NCHW).also { if (it !in LAYOUTS) refuse("$where.layout", "one of $LAYOUTS", it) },
        low = fields.bound("low"),
        high = fields.bound("high"),
        kind = fields.text("kind", "tensor").also { if (it !in KINDS) refuse("$where.kind", "one of $KINDS", it) },
    )
    fields.end()
    val rank = if (tensor.layout == NC) 2 else 4
    if (tensor.shape.size != rank) refuse("$where.shape", "$rank sides for ${tensor.layout}", tensor.shape)
    if (tensor.shape.fold(1L) { product, side -> product * side } > MAX_TENSOR_VALUES) refuse("$where.shape", "at most $MAX_TENSOR_VALUES values", tensor.shape)
    return tensor
}

private const val MAX_TENSOR_VALUES = 1L shl 28

private fun readSlice(value: Any?, where: String): IntRange {
    val ends = (value as? List<*>)?.map { (it as? Long)?.toInt() ?: refuse(where, "two whole numbers", value) }
    if (ends?.size != 2) refuse(where, "first index and end", value)
    return ends[0] until ends[1]
}

private fun readVariant(value: Any?, where: String): Variant {
    val fields = JsonFields(value, where)
    val variant = Variant(
        graphs = fields.named("graphs", ::readVariantGraph).onEachNamed("$where.graphs"),
        recipe = fields.text("recipe"),
        weights = fields.text("weights", "float32"),
        activations = fields.text("activations", "float32"),
        quantization = fields.named("quantization", { item, _ -> item }, emptyMap()),
    )
    fields.end()
    return variant
}

private fun readVariantGraph(value: Any?, where: String): VariantGraph {
    val fields = JsonFields(value, where)
    val graph = VariantGraph(relativePath(fields.text("path"), where), fields.items("inputs", ::readTensor), fields.items("outputs", ::readTensor))
    fields.end()
    return graph
}

private fun readFacts(value: Any?, where: String): FileFacts {
    val fields = JsonFields(value, where)
    val facts = FileFacts(fields.count("bytes"), fields.text("sha256"))
    fields.end()
    if (!SHA256.matches(facts.sha256)) refuse("$where.sha256", "64 hexadecimal digits", facts.sha256)
    return facts
}

private fun readPaths(value: Any?, where: String): List<String> =
    (value as? List<*> ?: refuse(where, "a list", value)).map { relativePath(readText(it, where), where) }

private fun <T> Map<String, T>.onEachNamed(where: String): Map<String, T> =
    onEach { (name, _) -> if (!NAME.matches(name)) refuse(where, "names of letters, digits, '.', '_' and '-'", name) }

/** Returns a plain relative POSIX path that stays where it starts, or refuses it. */
internal fun relativePath(text: String, where: String): String {
    val parts = text.split('/')
    val plain = text.length in 1..500 && parts.none { it == "" || it == "." || it == ".." }
    if (!plain || text.any { it < ' ' || it in "\\:*?\"<>|" }) refuse(where, "a relative path inside the bundle", text)
    return text
}

private fun checkNames(manifest: Manifest) {
    for ((format, byPrecision) in manifest.variants) {
        for ((precision, variant) in byPrecision) {
            for ((name, graph) in variant.graphs) checkGraph(manifest, "$format/$precision/$name", name, graph)
        }
    }
    for ((name, paths) in manifest.golden) {
        if (name !in manifest.graphs) refuse("golden", "vectors of a known graph", name)
        paths.firstOrNull { it !in manifest.files }?.let { refuse("golden", "files that are listed", it) }
    }
    val folded = HashMap<String, String>()
    for (path in manifest.files.keys) {
        folded.put(path.lowercase(), path)?.let { refuse("files", "names that differ in more than case", listOf(it, path)) }
    }
}

private fun checkGraph(manifest: Manifest, where: String, name: String, graph: VariantGraph) {
    val contract = manifest.graphs[name] ?: refuse(where, "a known graph", name)
    for ((want, got) in listOf(contract.inputs to graph.inputs, contract.outputs to graph.outputs)) {
        val (wanted, given) = want.map { it.name }.sorted() to got.map { it.name }.sorted()
        if (wanted != given) refuse(where, "tensors $wanted", given)
    }
    if (manifest.filesOf(graph.path).isEmpty()) refuse(where, "a file that is listed", graph.path)
}
