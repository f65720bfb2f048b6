package dev.pocketportrait.demo

import dev.pocketportrait.engine.litert.LiteRtEngine
import dev.pocketportrait.engine.ort.OrtEngine
import dev.pocketportrait.pipeline.Accelerator
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.InputError

private const val LITERT_VERSION = "2.3.0" // of gradle/libs.versions.toml

/**
 * Makes an engine.
 *
 * @param name ort or litert.
 * @param accelerator cpu or gpu.
 * @throws InputError another name, or an engine that has no such accelerator.
 */
fun engineNamed(name: String, accelerator: String): Engine {
    val wanted = Accelerator.values().firstOrNull { it.name.equals(accelerator, ignoreCase = true) }
        ?: throw InputError("accel: want cpu or gpu, got $accelerator")
    return when {
        name == "litert" -> LiteRtEngine(wanted, LITERT_VERSION)
        name == "ort" && wanted == Accelerator.CPU -> OrtEngine()
        name == "ort" -> throw InputError("accel: want cpu for ort, got $accelerator; the GPU is litert's")
        else -> throw InputError("engine: want ort or litert, got $name")
    }
}

/** Returns the variant that an engine runs when nobody chose: fp16 before others. */
fun precisionFor(bundle: Bundle, engine: Engine): String {
    val held = bundle.manifest.variants[engine.format].orEmpty().keys
    return listOf("fp16", "fp32").firstOrNull { it in held } ?: held.firstOrNull()
        ?: throw InputError("${bundle.name}: want ${engine.format}, got ${bundle.variantNames()}; export that format")
}
