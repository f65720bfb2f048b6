package dev.pocketportrait.pipeline

/** What measured: no names, no paths. */
data class MachineRecord(val system: String, val architecture: String, val processor: String, val cores: Int, val engines: Map<String, String>) {
    /** Returns the record's fields. */
    fun fields(): Map<String, Any?> = linkedMapOf(
        "system" to system,
        "architecture" to architecture,
        "processor" to processor,
        "cores" to cores,
        "python" to "none",
        "engines" to engines,
    )
}

/** One check of one thing; figures that are not finite become null in JSON. */
data class CheckRecord(
    val kind: String,
    val passed: Boolean,
    val variant: String = "bundle",
    val target: String = "",
    val graph: String = "",
    val tensor: String = "",
    val sample: String = "",
    val runner: String = "",
    val message: String = "",
    val parity: Parity? = null,
    val tolerance: Tolerance? = null,
) {
    /** Returns the record's fields. */
    fun fields(): Map<String, Any?> = linkedMapOf(
        "kind" to kind,
        "status" to if (passed) "PASS" else "FAIL",
        "variant" to variant,
        "target" to target,
        "graph" to graph,
        "tensor" to tensor,
        "sample" to sample,
        "runner" to runner,
        "message" to message,
        "max_abs" to parity?.maxAbs,
        "psnr_db" to parity?.psnrDb,
        "cosine" to parity?.cosine,
        "max_abs_limit" to tolerance?.maxAbs,
        "psnr_db_limit" to tolerance?.psnrDb,
        "cost" to null,
        "cost_unit" to "",
    )
}

/** What one graph costs. */
data class GraphBench(val graph: String, val loadMs: Double, val firstMs: Double, val warm: Timing, val residencyNote: String) {
    /** Returns the record's fields. */
    fun fields(): Map<String, Any?> = linkedMapOf(
        "graph" to graph,
        "load_ms" to loadMs,
        "first_ms" to firstMs,
        "warm" to warm.fields(),
        "residency" to emptyList<Any>(),
        "residency_note" to residencyNote,
    )
}

/** What one variant costs, or why that was not measured. */
data class VariantBench(
    val bundle: String,
    val bundleSha256: String,
    val variant: String,
    val runner: String,
    val threads: Int?,
    val emulated: Boolean,
    val skipped: String = "",
    val graphs: List<GraphBench> = emptyList(),
    val frame: Timing? = null,
    val frameMs: List<Double> = emptyList(),
) {
    init {
        require(!emulated || (graphs.isEmpty() && frame == null && frameMs.isEmpty())) { "times of an emulator are no latency" }
        require(skipped.isNotEmpty() || frame != null) { "want times, or the reason why there are none" }
    }

    /** Returns the record's fields. */
    fun fields(): Map<String, Any?> = linkedMapOf(
        "bundle" to bundle,
        "bundle_sha256" to bundleSha256,
        "variant" to variant,
        "runner" to runner,
        "threads" to threads,
        "emulated" to emulated,
        "skipped" to skipped,
        "import_ms" to null,
        "graphs" to graphs.map { it.fields() },
        "frame" to frame?.fields(),
        "peak_rss_bytes" to null,
        "process_threads" to null,
        "frame_ms" to frameMs,
    )
}
