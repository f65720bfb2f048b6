package dev.pocketportrait.pipeline

import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MAX_HEADER_BYTES = 1L shl 20

/** A tensor that was stored: its shape, and its values in row-major order as float64. */
class StoredTensor(val shape: List<Int>, val values: DoubleArray) {
    /** Returns the values as float32. */
    fun floats(): FloatArray = FloatArray(values.size) { values[it].toFloat() }
}

/**
 * Reads all tensors of a safetensors file of types F32, F64, U8 and I64.
 *
 * @throws InputError the file is damaged or holds a type that golden vectors never have.
 */
fun readSafetensors(file: File): Map<String, StoredTensor> = RandomAccessFile(file, "r").use { source ->
    fun fail(what: String): Nothing = throw InputError("${file.name}: want a whole safetensors file, got $what; export the bundle again")
    if (source.length() < 8) fail("${source.length()} bytes")
    val length = java.lang.Long.reverseBytes(source.readLong())
    if (length !in 2..MAX_HEADER_BYTES || 8 + length > source.length()) fail("a header of $length bytes")
    val header = ByteArray(length.toInt()).also(source::readFully).toString(Charsets.UTF_8)
    val body = ByteArray((source.length() - 8 - length).toInt()).also(source::readFully)
    val entries = readJson(header) as? Map<*, *> ?: fail("no names")
    val tensors = LinkedHashMap<String, StoredTensor>()
    for ((name, facts) in entries) {
        if (name == "__metadata__") continue
        facts as? Map<*, *> ?: fail("no facts of $name")
        val shape = (facts["shape"] as? List<*>)?.map { (it as Long).toInt() } ?: fail("no shape of $name")
        val (start, end) = (facts["data_offsets"] as? List<*>)?.map { (it as Long).toInt() }?.takeIf { it.size == 2 } ?: fail("no place of $name")
        if (start !in 0..end || end > body.size) fail("$name outside the file")
        val bytes = ByteBuffer.wrap(body, start, end - start).order(ByteOrder.LITTLE_ENDIAN)
        val values = decoded(bytes, facts["dtype"]) ?: fail("$name as ${facts["dtype"]}")
        if (values.size != shape.fold(1) { n, side -> n * side }) fail("${values.size} values of $name for $shape")
        tensors[name as String] = StoredTensor(shape, values)
    }
    tensors
}

private fun decoded(bytes: ByteBuffer, dtype: Any?): DoubleArray? = when (dtype) {
    "F32" -> bytes.asFloatBuffer().let { b -> DoubleArray(b.remaining()) { b.get(it).toDouble() } }
    "F64" -> bytes.asDoubleBuffer().let { b -> DoubleArray(b.remaining()) { b.get(it) } }
    "U8" -> DoubleArray(bytes.remaining()) { (bytes.get(bytes.position() + it).toInt() and 0xff).toDouble() }
    "I64" -> bytes.asLongBuffer().let { b -> DoubleArray(b.remaining()) { b.get(it).toDouble() } }
    else -> null
}
