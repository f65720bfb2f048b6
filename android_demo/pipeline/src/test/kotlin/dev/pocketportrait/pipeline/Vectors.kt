package dev.pocketportrait.pipeline

import java.io.File
import java.nio.ByteBuffer

/** What the Python side wrote: check/golden_vectors.py. */
internal object Vectors {
    private val json = case(readJson(resource("vectors.json").readText()))
    private val tensors = readSafetensors(resource("vectors.safetensors"))

    fun resource(name: String): File = File(checkNotNull(Vectors::class.java.getResource("/$name")) { "no resource $name" }.toURI())

    fun cases(name: String): List<Case> = json.cases(name)

    fun tensor(name: String): StoredTensor = tensors.getValue(name)

    fun bytes(name: String): ByteArray = tensor(name).values.let { v -> ByteArray(v.size) { v[it].toInt().toByte() } }

    fun buffer(name: String): ByteBuffer = ByteBuffer.wrap(bytes(name))

    fun picture(name: String): Picture = tensor(name).shape.let { (height, width) -> Picture(width, height, bytes(name)) }
}

/** One case, by the names of its fields. */
internal typealias Case = Map<String, Any?>

@Suppress("UNCHECKED_CAST") // the reader makes keys of strings alone
internal fun case(value: Any?): Case = value as Case

internal fun Case.cases(key: String): List<Case> = (getValue(key) as List<*>).map(::case)

internal fun Case.number(key: String): Double = when (val value = getValue(key)) {
    "inf" -> Double.POSITIVE_INFINITY
    "-inf" -> Double.NEGATIVE_INFINITY
    "nan" -> Double.NaN
    else -> (value as Number).toDouble()
}

internal fun Case.int(key: String): Int = (getValue(key) as Long).toInt()

internal fun Case.text(key: String): String = getValue(key) as String

internal fun Case.numbers(key: String): List<Double> = (getValue(key) as List<*>).map { mapOf<String, Any?>("" to it).number("") }

internal fun Case.floats(key: String): FloatArray = numbers(key).map { it.toFloat() }.toFloatArray()

/** Returns the message of the [InputError] that [block] must throw. */
internal fun refusal(block: () -> Unit): String {
    try {
        block()
    } catch (error: InputError) {
        return error.message.orEmpty()
    }
    throw AssertionError("want an InputError, got none")
}
