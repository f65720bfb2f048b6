package dev.pocketportrait.engine.litert

import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.Environment
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import dev.pocketportrait.pipeline.Accelerator
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.LoadedGraph
import dev.pocketportrait.pipeline.TensorSpec
import dev.pocketportrait.pipeline.VariantGraph
import java.io.File
import com.google.ai.edge.litert.Accelerator as LiteRtAccelerator

/**
 * LiteRT's CompiledModel, on the CPU (XNNPACK) or on the GPU.
 *
 * The GPU is asked for alone: a graph that cannot run there whole is refused, and never falls back to the CPU.
 *
 * @param version of the library that the app was built with; it does not tell.
 */
class LiteRtEngine(override val accelerator: Accelerator, override val version: String, override val threads: Int = 4) : Engine {
    override val name = "litert"
    override val format = "tflite"

    // one for all graphs: each without one would hold a GPU context of its own
    private val environment = Environment.create()

    override fun load(file: File, declared: VariantGraph): LoadedGraph = translated(file.name) {
        LiteRtGraph(CompiledModel.create(file.path, options(), environment), declared, accelerator)
    }

    override fun close() = environment.close()

    private fun options(): CompiledModel.Options {
        if (accelerator == Accelerator.GPU) return CompiledModel.Options(LiteRtAccelerator.GPU)
        return CompiledModel.Options(LiteRtAccelerator.CPU).also { it.cpuOptions = CompiledModel.CpuOptions(threads, null, null) }
    }
}

private class LiteRtGraph(private val model: CompiledModel, private val declared: VariantGraph, accelerator: Accelerator) : LoadedGraph {
    private val inputs = HashMap<String, TensorBuffer>()
    private val outputs = HashMap<String, TensorBuffer>()
    override val residency = if (accelerator == Accelerator.GPU) "GPU alone was asked for" else "CPU"

    init {
        try {
            declared.inputs.forEach { inputs[it.name] = model.createInputBuffer(it.name) }
            declared.outputs.forEach { outputs[it.name] = model.createOutputBuffer(it.name) }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    // buffers live as long as the graph, so what is written once stays
    override fun bind(constant: Map<String, FloatArray>) = translated("bind") { constant.forEach(::write) }

    override fun run(feed: Map<String, FloatArray>): Map<String, FloatArray> = translated("run") {
        feed.forEach(::write)
        model.run(inputs, outputs)
        // the call may only have put work into a queue; reading waits for it
        declared.outputs.associate { it.name to read(it) }
    }

    override fun close() {
        (inputs.values + outputs.values).forEach { it.close() }
        inputs.clear()
        outputs.clear()
        model.close()
    }

    private fun write(name: String, value: FloatArray) {
        val buffer = inputs[name] ?: throw InputError("want inputs ${inputs.keys}, got $name")
        buffer.writeFloat(value)
    }

    private fun read(output: TensorSpec): FloatArray {
        val values = outputs.getValue(output.name).readFloat()
        if (values.size != output.size) throw InputError("${output.name}: the manifest says ${output.size} values, the file gives ${values.size}; export it again")
        return values
    }
}

private inline fun <T> translated(what: String, work: () -> T): T = try {
    work()
} catch (error: LiteRtException) {
    throw InputError("$what: LiteRT says: ${error.message}", error)
}
