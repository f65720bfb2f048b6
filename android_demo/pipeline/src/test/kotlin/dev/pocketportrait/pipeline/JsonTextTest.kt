package dev.pocketportrait.pipeline

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class JsonTextTest {
    @Test
    fun `what was read is written again`() {
        val text = """{"a":[1,-2.5,1.0E-7,true,false,null],"b":{"c":"\"\\\n\u00e9\u0001"}}"""
        val value = readJson(text)
        assertEquals(value, readJson(jsonText(value)))
        assertEquals(1L, ((value as Map<*, *>)["a"] as List<*>)[0])
        assertEquals("\"\\\né\u0001", (value["b"] as Map<*, *>)["c"])
    }

    @Test
    fun `numbers that JSON has no form for become null`() {
        assertEquals("[null,null,1.5]", jsonText(listOf(Double.POSITIVE_INFINITY, Double.NaN, 1.5)))
    }

    @Test
    fun `what is no JSON is refused with the place`() {
        val broken = listOf("", "{", "[1,]", "{\"a\":1,\"a\":2}", "01", "1 2", "\"\u0001\"", "tru", "\"\\x\"", "[1e999]", "99999999999999999999", "[".repeat(100), "\"\\u12g4\"", "{1:2}")
        for (text in broken) assertTrue(text, refusal { readJson(text) }.startsWith("JSON: want"))
    }
}
