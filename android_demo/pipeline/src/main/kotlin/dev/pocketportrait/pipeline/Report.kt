package dev.pocketportrait.pipeline

const val APP_VERSION = "0.1.0"
private const val TOOL = "pocketportrait android $APP_VERSION"

/** Everything that a phone found of one bundle; its JSON follows docs/schemas/report-1.json. */
class Report(
    private val bundle: Bundle,
    private val machine: MachineRecord,
    private val startedUtc: String,
    private val seconds: Double,
    private val checks: List<CheckRecord>,
    private val bench: VariantBench?,
    private val notes: List<String> = emptyList(),
) {
    /** Whether every check passed, and there was one. */
    val passed: Boolean get() = checks.isNotEmpty() && checks.all { it.passed }

    /** Returns the report as JSON; `pocketportrait import-result` takes it. */
    fun json(): String = jsonText(
        linkedMapOf(
            "schema_version" to 1,
            "kind" to "report",
            "tool" to TOOL,
            "title" to "Pocket Portrait on a phone",
            "bundles" to listOf(bundleFacts()),
            "verifications" to listOf(verification()),
            "evaluations" to emptyList<Any>(),
            "benches" to listOfNotNull(bench).map(::benchFields),
            "gates" to emptyList<Any>(),
            "pictures" to emptyList<Any>(),
        ),
    )

    private fun bundleFacts(): Map<String, Any?> = linkedMapOf(
        "name" to bundle.name,
        "sha256" to bundle.manifestSha256,
        "licence" to bundle.manifest.licence,
        "model" to bundle.manifest.model,
        "tools" to bundle.manifest.tools,
        "sizes" to bundle.manifest.variants.flatMap { (format, by) ->
            by.map { (precision, variant) ->
                linkedMapOf(
                    "variant" to "$format/$precision",
                    "recipe" to variant.recipe,
                    "graph_bytes" to variant.graphs.mapValues { (_, graph) -> bundle.bytesOf(graph.path) },
                )
            }
        },
    )

    private fun verification(): Map<String, Any?> = linkedMapOf(
        "schema_version" to 2,
        "tool" to TOOL,
        "bundle" to bundle.name,
        "machine" to machine.fields(),
        "seconds" to seconds,
        "targets" to emptyList<Any>(),
        "checks" to checks.map { it.fields() },
    )

    private fun benchFields(variant: VariantBench): Map<String, Any?> = linkedMapOf(
        "tool" to TOOL,
        "machine" to machine.fields(),
        "started" to startedUtc,
        "load_1m" to null,
        "variants" to listOf(variant.fields()),
        "comparisons" to emptyList<Any>(),
        "sustained" to emptyList<Any>(),
        "budgets" to emptyList<Any>(),
        "regressions" to emptyList<Any>(),
        "notes" to notes,
    )
}
