package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.max

private const val FLOAT64 = ".float64"
private const val WARMUP = 3

/**
 * Checks that a variant computes here what it computed where it was exported, and measures it.
 *
 * @param target names the device's engine in the report, such as app:onnxruntime-cpu.
 */
class SelfTest(private val bundle: Bundle, private val engine: Engine, private val precision: String, private val target: String) {
    private val variant = bundle.variant(engine.format, precision)
    private val name = "${engine.format}/$precision"

    /** Replays the golden vectors of every graph; yields a check for each output of each sample. */
    fun checks(): Sequence<CheckRecord> = sequence {
        yield(CheckRecord(kind = "files", passed = true, message = "${bundle.manifest.files.size} files have their sizes and digests"))
        for (graph in GRAPHS) yieldAll(replay(graph))
    }

    private fun replay(graph: String): List<CheckRecord> {
        val row = CheckRecord(kind = "run", passed = false, variant = name, target = target, graph = graph, runner = engine.name)
        return try {
            val samples = bundle.golden(graph).toList()
            if (samples.isEmpty()) throw InputError("$graph: want golden vectors, got none; export the bundle again")
            engine.open(bundle, precision, graph).use { loaded ->
                samples.flatMapIndexed { number, stored -> compared(row, loaded, "golden-$number", stored, floors(loaded.spec, samples)) }
            }
        } catch (error: InputError) {
            listOf(row.copy(message = error.message.orEmpty()))
        }
    }

    private fun compared(row: CheckRecord, loaded: ContractGraph, sample: String, stored: Map<String, StoredTensor>, floors: Map<String, Double>): List<CheckRecord> {
        fun tensor(name: String): StoredTensor = stored[name] ?: throw InputError("${loaded.spec.name} $sample: want $name, got ${stored.keys}; export it again")
        val given = loaded.run(loaded.spec.inputs.associate { it.name to tensor(it.name).floats() })
        return loaded.spec.outputs.map { output ->
            val reference = tensor(output.name).values
            val parity = Parity.of(reference, given.getValue(output.name), if (output.isImage) 1.0 else null)
            val tolerance = toleranceFor(arithmeticOf(precision, variant), output, reference, floors[output.name])
            val complaint = tolerance.complaint(parity)
            row.copy(kind = "golden", passed = complaint.isEmpty(), tensor = output.name, sample = sample, message = complaint, parity = parity, tolerance = tolerance)
        }
    }

    private fun floors(spec: GraphSpec, samples: List<Map<String, StoredTensor>>): Map<String, Double> {
        val found = HashMap<String, Double>()
        for (stored in samples) {
            for (output in spec.outputs) {
                val single = stored[output.name]?.values ?: continue
                val double = stored[output.name + FLOAT64]?.values ?: continue
                val floor = single.indices.maxOf { abs(single[it] - double[it]) }
                found[output.name] = max(found[output.name] ?: 0.0, floor)
            }
        }
        return found
    }

    /**
     * Measures every graph, and a frame (motion and render).
     *
     * @param runs passes that count, after 3 that do not.
     * @param emulated the device is an emulator: nothing is measured.
     */
    fun bench(runs: Int, emulated: Boolean): VariantBench {
        val facts = VariantBench(bundle.name, bundle.manifestSha256, name, "${engine.name} ${engine.accelerator.name.lowercase()}", engine.threads, emulated, skipped = "not measured")
        if (emulated) return facts.copy(skipped = "an emulator: its times are no latency")
        if (runs < 1) return facts.copy(skipped = "no runs were asked for")
        val passes = HashMap<String, List<Double>>()
        val graphs = GRAPHS.map { graph -> measured(graph, runs, passes) }
        val frames = passes.getValue("motion").zip(passes.getValue("render")) { a, b -> a + b }
        return facts.copy(skipped = "", graphs = graphs, frame = Timing.of(frames, WARMUP), frameMs = frames.drop(WARMUP))
    }

    private fun measured(graph: String, runs: Int, passes: MutableMap<String, List<Double>>): GraphBench {
        val start = System.nanoTime()
        return engine.open(bundle, precision, graph).use { loaded ->
            val loadMs = (System.nanoTime() - start) / 1e6
            val stored = bundle.golden(graph).first()
            val feed = loaded.spec.inputs.associate { it.name to stored.getValue(it.name).floats() }
            // run() reads the results back: on a GPU the call alone only puts work into a queue
            val timesMs = List(1 + WARMUP + runs) {
                val begin = System.nanoTime()
                loaded.run(feed)
                (System.nanoTime() - begin) / 1e6
            }
            passes[graph] = timesMs.drop(1)
            GraphBench(graph, loadMs, timesMs.first(), Timing.of(timesMs.drop(1), WARMUP), loaded.residency.ifEmpty { "${engine.name} does not say" })
        }
    }
}
