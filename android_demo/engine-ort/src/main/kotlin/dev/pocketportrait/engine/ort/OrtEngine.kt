package dev.pocketportrait.engine.ort

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import dev.pocketportrait.pipeline.Accelerator
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.LoadedGraph
import dev.pocketportrait.pipeline.TensorSpec
import dev.pocketportrait.pipeline.VariantGraph
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * ONNX Runtime on the CPU.
 *
 * @param threads of a pass.
 * @param xnnpack takes XNNPACK's kernels where it has them; builds for desktop Java have none.
 */
class OrtEngine(override val threads: Int = 4, private val xnnpack: Boolean = true) : Engine {
    private val environment = OrtEnvironment.getEnvironment()
    override val name = "onnxruntime"
    override val version: String get() = environment.version
    override val format = "onnx"
    override val accelerator = Accelerator.CPU

    override fun load(file: File, declared: VariantGraph): LoadedGraph {
        val session = translated(file.name) { OrtSession.SessionOptions().use { environment.createSession(file.path, prepared(it)) } }
        try {
            translated(file.name) {
                compare(file.name, declared.inputs, session.inputInfo.mapValues { shapeOf(it.value.info as? TensorInfo) })
                compare(file.name, declared.outputs, session.outputInfo.mapValues { shapeOf(it.value.info as? TensorInfo) })
            }
        } catch (error: Throwable) {
            session.close()
            throw error
        }
        return OrtGraph(environment, session, declared, xnnpack)
    }

    override fun close() = Unit // the environment is the process's

    private fun prepared(options: OrtSession.SessionOptions): OrtSession.SessionOptions {
        options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT)
        if (xnnpack) options.addXnnpack(mapOf("intra_op_num_threads" to threads.toString()))
        // XNNPACK has threads of its own, beside which the session's would only spin
        options.setIntraOpNumThreads(if (xnnpack) 1 else threads)
        return options
    }

    private fun shapeOf(info: TensorInfo?): List<Int> = info?.shape.orEmpty().map { it.toInt() }

    private fun LongArray?.orEmpty(): LongArray = this ?: LongArray(0)

    private fun compare(file: String, declared: List<TensorSpec>, found: Map<String, List<Int>>) {
        val want = declared.associate { it.name to it.shape }
        if (want != found) throw InputError("$file: the manifest says $want, the file $found; export it again")
    }
}

private class OrtGraph(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    declared: VariantGraph,
    xnnpack: Boolean,
) : LoadedGraph {
    private val inputs = HashMap<String, Tensor>()
    private val outputs = HashMap<String, Tensor>()
    private val given = HashMap<String, OnnxTensor>()
    private val wanted = HashMap<String, OnnxTensor>()
    private val results = HashMap<String, FloatArray>()
    override val residency = if (xnnpack) "XNNPACK where it has a kernel, else ONNX Runtime's CPU; it does not say which" else "CPU"

    init {
        try {
            translated("tensors") {
                declared.inputs.forEach { inputs[it.name] = Tensor(it) }
                declared.outputs.forEach { outputs[it.name] = Tensor(it) }
            }
        } catch (error: Throwable) {
            close()
            throw error
        }
        inputs.mapValuesTo(given) { (_, tensor) -> tensor.native }
        outputs.mapValuesTo(wanted) { (_, tensor) -> tensor.native }
        declared.outputs.associateTo(results) { it.name to FloatArray(it.size) }
    }

    // tensors live as long as the graph, so what is written once stays
    override fun bind(constant: Map<String, FloatArray>) = constant.forEach(::write)

    override fun run(feed: Map<String, FloatArray>): Map<String, FloatArray> = translated("run") {
        feed.forEach(::write)
        session.run(given, wanted).close() // it owns none of what was given to write into
        outputs.forEach { (name, tensor) -> tensor.read(results.getValue(name)) }
        results
    }

    override fun close() {
        (inputs.values + outputs.values).forEach { it.native.close() }
        session.close()
    }

    private fun write(name: String, value: FloatArray) {
        val tensor = inputs[name] ?: throw InputError("want inputs ${inputs.keys}, got $name")
        tensor.write(value)
    }

    /** Memory that Java and the session share, for all passes. */
    private inner class Tensor(spec: TensorSpec) {
        private val memory = ByteBuffer.allocateDirect(4 * spec.size).order(ByteOrder.nativeOrder()).asFloatBuffer()
        val native: OnnxTensor = OnnxTensor.createTensor(environment, memory, LongArray(spec.shape.size) { spec.shape[it].toLong() })

        // duplicates start at the first number; rewind() itself has another result type on Android 8 than in a JDK
        fun write(value: FloatArray) {
            memory.duplicate().put(value)
        }

        fun read(value: FloatArray) {
            memory.duplicate().get(value)
        }
    }
}

private inline fun <T> translated(what: String, work: () -> T): T = try {
    work()
} catch (error: OrtException) {
    throw InputError("$what: ONNX Runtime says: ${error.message}", error)
}
