package dev.pocketportrait.pipeline

/** Reads the fields of one JSON object; afterwards nothing may be left over. */
internal class JsonFields(value: Any?, private val where: String) {
    private val left: MutableMap<String, Any?>

    init {
        if (value !is Map<*, *>) fail("an object", value)
        @Suppress("UNCHECKED_CAST") // the reader makes keys of strings alone
        left = LinkedHashMap(value as Map<String, Any?>)
    }

    fun text(name: String, default: String? = null): String = take(name, default) { it as? String ?: fail("text", it, name) }

    fun count(name: String): Long =
        take(name, null) { n -> (n as? Long)?.takeIf { it >= 0 } ?: fail("a whole number from 0", n, name) }

    fun bound(name: String): Double? {
        val value = left.remove(name) ?: return null
        return (value as? Number)?.toDouble() ?: fail("a number or null", value, name)
    }

    fun <T> items(name: String, read: (Any?, String) -> T): List<T> =
        take(name, null) { list -> (list as? List<*> ?: fail("a list", list, name)).mapIndexed { i, v -> read(v, "$where.$name.$i") } }

    fun <T> named(name: String, read: (Any?, String) -> T, default: Map<String, T>? = null): Map<String, T> =
        take(name, default) { value -> readNamed(value, "$where.$name", read) }

    /** Reads a field of any form. */
    fun any(name: String, default: Any?): Any? = if (name in left) left.remove(name) else default

    /** Refuses fields that nobody asked for. */
    fun end() {
        left.keys.firstOrNull()?.let { throw InputError("$MANIFEST: $where: want no field \"$it\"; export the bundle again") }
    }

    private inline fun <T> take(name: String, default: T?, read: (Any?) -> T): T = when {
        name in left -> read(left.remove(name))
        default != null -> default
        else -> throw InputError("$MANIFEST: $where: want the field \"$name\", got none; export the bundle again")
    }

    private fun fail(want: String, got: Any?, name: String = ""): Nothing = refuse("$where${if (name.isEmpty()) "" else ".$name"}", want, got)
}

internal fun <T> readNamed(value: Any?, where: String, read: (Any?, String) -> T): Map<String, T> {
    if (value !is Map<*, *>) refuse(where, "an object", value)
    return value.entries.associate { (key, item) -> (key as String) to read(item, "$where.$key") }
}

internal fun readText(value: Any?, where: String): String = value as? String ?: refuse(where, "text", value)

internal fun refuse(where: String, want: String, got: Any?): Nothing =
    throw InputError("$MANIFEST: $where: want $want, got ${jsonText(got).take(80)}; export the bundle again")
