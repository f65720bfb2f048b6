package dev.pocketportrait.pipeline

import java.io.File

/** What runs graphs. */
enum class Accelerator { CPU, GPU }

/** An inference engine: it loads files of one format. Not for two threads at a time. */
interface Engine : AutoCloseable {
    /** The engine's name in reports: onnxruntime or litert. */
    val name: String

    /** The engine's version, as it says itself or as it was built with. */
    val version: String

    /** The bundle format that it reads. */
    val format: String

    /** What it was asked to run on. */
    val accelerator: Accelerator

    /** Threads that were asked for; null lets the engine choose. */
    val threads: Int?

    /**
     * Loads one graph.
     *
     * @param file of this engine's format.
     * @param declared the file's tensors as the manifest has them.
     * @throws InputError the file does not load, is unlike the manifest, or would not run where it was asked to.
     */
    fun load(file: File, declared: VariantGraph): LoadedGraph
}

/** A graph in memory; takes and gives tensors in the file's own layout. */
interface LoadedGraph : AutoCloseable {
    /** What is known of where the operators run; empty if the engine does not say. */
    val residency: String

    /** Keeps inputs that stay the same over many passes. */
    fun bind(constant: Map<String, FloatArray>)

    /**
     * Runs one pass with these and the bound inputs, to the end.
     *
     * The arrays of the result are the graph's own, so that a frame costs no memory: the next pass overwrites them.
     */
    fun run(feed: Map<String, FloatArray>): Map<String, FloatArray>
}

/** A loaded graph that speaks the contract (NCHW, float32) over a file that may not. */
class ContractGraph(val spec: GraphSpec, private val declared: VariantGraph, private val loaded: LoadedGraph) : AutoCloseable {
    private val fileInputs = declared.inputs.associateBy { it.name }
    private val fileOutputs = declared.outputs.associateBy { it.name }
    private val bound = HashSet<String>()
    private val turned = HashMap<String, FloatArray>() // tensors of a pass in the other layout

    /** What is known of where the operators run. */
    val residency: String get() = loaded.residency

    /** Keeps inputs that stay the same; they are converted once. */
    fun bind(constant: Map<String, FloatArray>) {
        loaded.bind(toFile(constant))
        bound += constant.keys
    }

    /**
     * Runs one pass; the next one overwrites the arrays of its result.
     *
     * @throws InputError a tensor is missing, unknown or unlike its spec.
     */
    fun run(feed: Map<String, FloatArray>): Map<String, FloatArray> {
        val want = spec.inputs.map { it.name }.toSet()
        if (feed.keys + bound != want) throw InputError("${spec.name}: want inputs $want, got ${feed.keys + bound}")
        val given = loaded.run(toFile(feed))
        return spec.outputs.associate { output ->
            val value = given[output.name] ?: throw InputError("${spec.name}: want the output ${output.name}, got ${given.keys}")
            output.name to inLayout(value, fileOutputs.getValue(output.name), output)
        }
    }

    override fun close() = loaded.close()

    private fun toFile(feed: Map<String, FloatArray>): Map<String, FloatArray> = feed.mapValues { (name, value) ->
        val input = spec.inputs.firstOrNull { it.name == name } ?: throw InputError("${spec.name}: want inputs ${spec.inputs.map { it.name }}, got $name")
        input.check(value)
        inLayout(value, input, fileInputs.getValue(name))
    }

    private fun inLayout(value: FloatArray, from: TensorSpec, to: TensorSpec): FloatArray =
        if (from.layout == to.layout) value else converted(value, from, to, turned[from.name]).also { turned[from.name] = it }
}

/**
 * Loads a graph of a variant.
 *
 * @throws InputError the variant lacks it, or the engine refuses it.
 */
fun Engine.open(bundle: Bundle, precision: String, graph: String): ContractGraph {
    val declared = bundle.variant(format, precision).graphs[graph]
        ?: throw InputError("$format/$precision: want the graph $graph, got none; export the bundle again")
    val spec = bundle.graph(graph)
    for ((contract, ours) in listOf(spec.inputs to declared.inputs, spec.outputs to declared.outputs)) {
        for (tensor in contract) {
            val other = ours.first { it.name == tensor.name }
            if (other.dtype != "float32" || other.size != tensor.size) {
                throw InputError("$graph: ${tensor.name}: want float32 of ${tensor.size} values, the file has ${other.dtype} of ${other.size}; export it again")
            }
        }
    }
    return ContractGraph(spec, declared, load(bundle.file(declared.path), declared))
}
