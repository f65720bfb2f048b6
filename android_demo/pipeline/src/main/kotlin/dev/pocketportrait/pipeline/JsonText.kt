package dev.pocketportrait.pipeline

private const val MAX_DEPTH = 64

/**
 * Reads one JSON document strictly.
 *
 * @return Map<String, Any?>, List<Any?>, String, Long, Double, Boolean or null.
 * @throws InputError it is no JSON, names a key twice, or nests deeper than 64 levels.
 */
fun readJson(text: String): Any? = JsonReader(text).document()

/** Returns a value as JSON on one line; numbers that JSON has no form for become null. */
fun jsonText(value: Any?): String = StringBuilder().also { write(value, it) }.toString()

private class JsonReader(private val text: String) {
    private var at = 0
    private var depth = 0

    fun document(): Any? {
        val value = value()
        space()
        if (at != text.length) fail("the end")
        return value
    }

    private fun value(): Any? {
        space()
        if (++depth > MAX_DEPTH) fail("at most $MAX_DEPTH levels")
        val read = when (peek()) {
            '{' -> members()
            '[' -> elements()
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
        depth--
        return read
    }

    private fun members(): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        list('}') {
            space()
            val key = string()
            space()
            take(':')
            if (key in found) fail("the key \"$key\" once")
            found[key] = value()
        }
        return found
    }

    private fun elements(): List<Any?> = ArrayList<Any?>().also { found -> list(']') { found.add(value()) } }

    private inline fun list(end: Char, item: () -> Unit) {
        at++
        space()
        if (peek() == end) {
            at++
            return
        }
        while (true) {
            item()
            space()
            if (peek() == end) break
            take(',')
        }
        at++
    }

    private fun string(): String {
        take('"')
        val out = StringBuilder()
        while (true) {
            when (val c = peek()) {
                '"' -> {
                    at++
                    return out.toString()
                }
                '\\' -> out.append(escaped())
                else -> {
                    if (c < ' ') fail("no control character in a string")
                    out.append(c)
                    at++
                }
            }
        }
    }

    private fun escaped(): Char {
        at++
        val c = peek()
        at++
        return when (c) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = text.substring(at, minOf(at + 4, text.length))
                if (!HEX.matches(digits)) fail("four hexadecimal digits")
                at += 4
                digits.toInt(16).toChar()
            }
            else -> fail("an escape that JSON has")
        }
    }

    private fun number(): Any {
        val match = NUMBER.matchAt(text, at) ?: fail("a value")
        at = match.range.last + 1
        val digits = match.value
        if (digits.none { it in ".eE" }) return digits.toLongOrNull() ?: fail("a whole number of 64 bits")
        return digits.toDouble().also { if (!it.isFinite()) fail("a number of 64 bits") }
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("a value")
        at += word.length
        return value
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("more")

    private fun take(c: Char) {
        if (peek() != c) fail("'$c'")
        at++
    }

    private fun fail(want: String): Nothing = throw InputError("JSON: want $want at character $at; write the file again")

    private companion object {
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
        val HEX = Regex("[0-9a-fA-F]{4}")
    }
}

private fun write(value: Any?, out: StringBuilder) {
    when (value) {
        null -> out.append("null")
        is String -> quote(value, out)
        is Double -> out.append(if (value.isFinite()) value.toString() else "null")
        is Int, is Long, is Boolean -> out.append(value.toString())
        is Map<*, *> -> joined(value.entries, '{', '}', out) { (key, item) ->
            quote(key as String, out)
            out.append(':')
            write(item, out)
        }
        is List<*> -> joined(value, '[', ']', out) { write(it, out) }
        else -> error("no JSON for ${value::class}")
    }
}

private inline fun <T> joined(items: Iterable<T>, open: Char, close: Char, out: StringBuilder, each: (T) -> Unit) {
    out.append(open)
    items.forEachIndexed { index, item ->
        if (index > 0) out.append(',')
        each(item)
    }
    out.append(close)
}

private fun quote(text: String, out: StringBuilder) {
    out.append('"')
    for (c in text) {
        when {
            c == '"' || c == '\\' -> out.append('\\').append(c)
            c < ' ' || c.isSurrogate() -> out.append("\\u").append(c.code.toString(16).padStart(4, '0'))
            else -> out.append(c)
        }
    }
    out.append('"')
}
