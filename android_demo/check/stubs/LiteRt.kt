// Signatures of com.google.ai.edge.litert as its documentation and samples use them, written by hand: its library
// cannot be had from the registries that make android-check uses. Compiling against them proves that the engine
// is consistent with this list, and not that the list is right.
@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.ai.edge.litert

enum class Accelerator { NONE, CPU, GPU, NPU }

class LiteRtException(message: String) : Exception(message)

class Environment private constructor() : AutoCloseable {
    override fun close() = TODO()

    companion object {
        fun create(): Environment = TODO()
    }
}

class TensorBuffer private constructor() : AutoCloseable {
    fun writeFloat(data: FloatArray): Unit = TODO()

    fun readFloat(): FloatArray = TODO()

    override fun close() = TODO()
}

class CompiledModel private constructor() : AutoCloseable {
    class CpuOptions(numThreads: Int?, xnnPackFlags: Int?, xnnPackWeightCachePath: String?)

    class Options(vararg accelerators: Accelerator) {
        var cpuOptions: CpuOptions? = null
    }

    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer = TODO()

    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer = TODO()

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null): Unit = TODO()

    override fun close() = TODO()

    companion object {
        fun create(filePath: String, options: Options, optionalEnv: Environment? = null): CompiledModel = TODO()
    }
}
